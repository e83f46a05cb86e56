//! What is no part of a pod, by its name.
//!
//! A list of names is not a wall: a key under another name is packed. It keeps out what lies about by habit, and what
//! it keeps out is reported, so that a file that was meant to be in is missed at once.

/// Why something of this name is left out, wherever it lies.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    match name.as_str() {
        ".git" | ".hg" | ".svn" | ".bzr" | ".jj" => Some("it is the history of a version control"),
        "creds.json" | ".env" | ".netrc" | "_netrc" | ".npmrc" | ".pypirc" | ".pgpass"
        | ".git-credentials" | ".htpasswd" | ".ssh" | ".gnupg" | ".aws" | ".azure" | ".docker"
        | ".kube" | "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ecdsa_sk" | "id_ed25519"
        | "id_ed25519_sk" => Some(SECRET),
        ".ds_store" | "thumbs.db" | "desktop.ini" | "__pycache__" | "node_modules" => Some(LITTER),
        _ if starts(&name, &["credentials", ".env."]) => Some(SECRET),
        _ if ends(
            &name,
            &[".pem", ".key", ".p12", ".pfx", ".kdbx", ".jks", ".keystore"],
        ) =>
        {
            Some(SECRET)
        }
        _ if ends(&name, &["~", ".swp", ".swo"]) => Some(LITTER),
        _ => None,
    }
}

const SECRET: &str = "it may hold secrets";
const LITTER: &str = "it is litter of an editor, a system or a tool";

/// Why something at this path in a pod is left out.
pub(super) fn by_path(path: &str) -> Option<&'static str> {
    match path {
        crate::tree::STAGING => Some("it holds files that are not complete"),
        "tmp" => Some("it is only there for a run"),
        "payload/external" => Some("it is fetched from the pods that the recipe names"),
        ".sovr-task.json" => Some("it is the state of a run"),
        _ if !path.contains('/') && starts(path, &[".sovr-", crate::lock::PARTIAL_PREFIX]) => {
            Some("it is the program's own, and not complete")
        }
        _ => None,
    }
}

fn starts(name: &str, beginnings: &[&str]) -> bool {
    beginnings
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

fn ends(name: &str, endings: &[&str]) -> bool {
    endings
        .iter()
        .any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_histories_and_litter_are_known_by_their_names() {
        for name in [
            ".git",
            ".SVN",
            "creds.json",
            "Credentials.toml",
            "credentials",
            ".env",
            ".env.production",
            "server.PEM",
            "wallet.key",
            "id_ed25519",
            ".ssh",
            ".DS_Store",
            "notes.txt~",
            ".recipe.json.swp",
            "__pycache__",
            "node_modules",
        ] {
            assert!(by_name(name).is_some(), "{name}");
        }
        for name in [
            "recipe.json",
            "main.wasm",
            ".gitignore",
            "environment",
            "keys.json",
            "id_rsa.pub",
            ".pem",
            "~",
            "my-creds.json.txt",
        ] {
            assert_eq!(by_name(name), None, "{name}");
        }
    }

    #[test]
    fn places_are_left_out_only_where_they_are() {
        for path in [
            "tmp",
            "payload/external",
            ".sovr-partial",
            ".sovr-task.json",
            ".sovr-fresh-1",
        ] {
            assert!(by_path(path).is_some(), "{path}");
        }
        for path in ["payload/tmp", "external", "payload", "output/.sovr-partial"] {
            assert_eq!(by_path(path), None, "{path}");
        }
    }
}
