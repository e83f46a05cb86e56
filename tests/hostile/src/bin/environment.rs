//! Looks for secrets in its environment. Arguments are the names it was granted.

fn main() {
    let granted: Vec<String> = std::env::args().skip(1).collect();
    println!("looking");
    for (name, value) in std::env::vars() {
        if granted.contains(&name) {
            println!("granted: {name}={value}");
        } else {
            println!("EVIL: {name}={value}");
        }
    }
}
