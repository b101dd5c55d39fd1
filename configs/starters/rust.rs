fn greet(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("Hello, {name}!"),
        None => String::from("Hello, whoever you are!"),
    }
}

fn main() {
    for name in [Some("Ferris"), None] {
        println!("{}", greet(name));
    }
}
