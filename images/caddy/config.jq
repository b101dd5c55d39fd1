# Of what Caddy made of a Caddyfile: the URL of the first site, and a config for a box without a network, where
# certificates come from an authority in the box; or the error, alone.
def url:
    .apps.http.servers // {} | to_entries[0].value // {}
    | (.listen // [":80"] | .[0] | split(":")[-1]) as $port
    | ([.routes[]?.match[]?.host[]?][0]) as $host
    | (.automatic_https // {}) as $automatic
    | ($port == "443" or ($host and $port != "80" and ($automatic.disable | not)
        and ($automatic.skip // [] | index([$host]) | not))) as $is_secure
    | (if $is_secure then ["https", "443"] else ["http", "80"] end) as [$scheme, $usual]
    | $scheme + "://" + ($host // "localhost") + (if $port == $usual then "" else ":" + $port end) + "/";
def offline:
    .admin = {disabled: true}
    | .apps.pki.certificate_authorities.local.install_trust = false
    | .apps.tls.automation.policies = [
        (.apps.tls.automation.policies // [])[], {} | select(. == {} or has("subjects")) | .issuers = [{module: "internal"}]
    ];
if .error then "Error: " + .error else .result | url, (offline | tojson) end
