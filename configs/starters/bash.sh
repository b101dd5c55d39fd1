declare -A capitals=([Japan]=Tokyo [Kenya]=Nairobi [Peru]=Lima)

for country in Japan Kenya Peru; do
    printf '%-6s → %s\n' "$country" "${capitals[$country]}"
done

name=world
echo "Hello, ${name^}!"
