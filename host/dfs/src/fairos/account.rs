//! Who the user is to a FairOS server: what proves it, and what can go wrong with it.
//!
//! A password, a token and a mnemonic each have a type without a display. What they protect is money as well as data:
//! the mnemonic is the account's key.

use std::fmt;

use reqwest::Url;
use serde::Deserialize;
use sovr_capability::Untrusted;
use zeroize::Zeroizing;

use super::dialect::{Dialect, snake};
use crate::UserName;

/// A text that is never displayed, and overwritten when it is dropped. Copies that the HTTP client makes of a request
/// are not overwritten.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a user proves to be themselves with.
#[derive(Debug, Clone)]
pub struct Password(pub(super) Secret);

impl Password {
    /// Takes a password over. Any text is one; a server may want 12 characters or more.
    pub fn new(password: String) -> Password {
        Password(Secret::from(password))
    }
}

/// Twelve words that are the key of an account. Whoever knows them owns it.
#[derive(Debug, Clone)]
pub struct Mnemonic(pub(super) Secret);

impl Mnemonic {
    /// Takes the words over.
    pub fn new(words: String) -> Mnemonic {
        Mnemonic(Secret::from(words))
    }

    /// The words, to be shown to their owner once and kept nowhere. A server's text: escape it for a terminal.
    pub fn reveal(&self) -> Untrusted {
        Untrusted::new(self.0.reveal())
    }
}

/// What a server gave for a password: it proves who the user is for a day at most, and until logout or the server's
/// restart. An older server's (up to v0.8) is a cookie and begins with its name; the newer ones' is a token. On an
/// older server it does not do alone: the password goes with each pod.
#[derive(Debug, Clone)]
pub struct Login(pub(super) Secret);

impl Login {
    /// Takes over what an earlier login gave.
    pub fn new(saved: String) -> Login {
        Login(Secret::from(saved))
    }

    /// The proof, to be kept where only its user can read it.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// What the server that gave it understands.
    pub(super) fn dialect(&self) -> Dialect {
        if self.0.reveal().starts_with(snake::COOKIE) {
            Dialect::Snake
        } else {
            Dialect::Camel
        }
    }
}

/// A server, and who the user is there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address without the path of an interface, such as `http://localhost:9090`.
    pub server: Url,
    /// The user's name there.
    pub user: UserName,
    /// The user's password there. Without it only a login that still holds is good for anything.
    pub password: Option<Password>,
    /// What an earlier login gave. It is tried before the password.
    pub login: Option<Login>,
    /// Whether the password may travel unencrypted to another machine.
    pub allow_plain_http: bool,
}

/// An account as its server describes it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The name.
    pub user: Untrusted,
    /// The address, 40 hexadecimal digits after `0x`.
    pub address: Untrusted,
}

/// A new account.
#[derive(Debug)]
pub struct SignedUp {
    /// Its address.
    pub address: Untrusted,
    /// Its key, if the server made it: the user must write it down.
    pub mnemonic: Option<Mnemonic>,
    /// The first login.
    pub login: Login,
}

/// Why a server does not take the user for one of its own.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The address is not one.
    #[error(
        "the storage server's address {address:?} cannot be used: {why}; give one such as http://localhost:9090"
    )]
    Address {
        /// The address, without what may be secret in it.
        address: String,
        /// Why not.
        why: &'static str,
    },

    /// The password would travel in the clear.
    #[error(
        "the storage server {host} is on another machine and its address is plain http, so the password could be read \
         on the way: use an https address, or allow plain http for it in the configuration"
    )]
    PlainHttp {
        /// Where it is.
        host: String,
    },

    /// An account is needed and none was given.
    #[error(
        "the storage server does not {attempted} without an account: log in first; without an account only pods \
         that are shared can be read, by their reference"
    )]
    LoginNeeded {
        /// What was tried, as an infinitive with its object.
        attempted: String,
    },

    /// The server has forgotten the login, and there is no password to log in with again.
    #[error(
        "the storage server {host} does not know the login of the user `{user}` any more: log in again"
    )]
    LoginEnded {
        /// The name.
        user: UserName,
        /// The server.
        host: String,
    },

    /// An older server wants the password with each pod, and there is none.
    #[error(
        "the storage server {host} is an older one, which opens pods only with the password: give the password of the \
         user `{user}`, a login does not do"
    )]
    PasswordNeeded {
        /// The name.
        user: UserName,
        /// The server.
        host: String,
    },

    /// No such account.
    #[error(
        "the storage server {host} does not know the user `{user}`: check the name, or sign up first"
    )]
    NoSuchUser {
        /// The name.
        user: UserName,
        /// The server.
        host: String,
    },

    /// The password is another.
    #[error(
        "the storage server {host} refused the password of the user `{user}`: give the right one"
    )]
    WrongPassword {
        /// The name.
        user: UserName,
        /// The server.
        host: String,
    },

    /// The name of a new account is taken.
    #[error(
        "the storage server {host} has a user `{user}` already: log in, or sign up under another name"
    )]
    UserExists {
        /// The name.
        user: UserName,
        /// The server.
        host: String,
    },

    /// The server does not take the password for a new account.
    #[error("the storage server did not sign `{user}` up: {reason}; choose another password")]
    UnfitPassword {
        /// The name.
        user: UserName,
        /// The server's words.
        reason: String,
    },

    /// A new account costs a fee, and its address has nothing to pay it with.
    #[error(
        "signing `{user}` up costs a fee, and the new account has nothing yet: send 0.01 ETH to {address}, then sign \
         up again with the same mnemonic"
    )]
    Unfunded {
        /// The name.
        user: UserName,
        /// Where to send it.
        address: String,
        /// The new account's key. Lost with it is what was sent.
        mnemonic: Option<Mnemonic>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_log_is_not_shown() {
        let settings = Settings {
            server: Url::parse("http://localhost:9090").unwrap(),
            user: "alice".parse().unwrap(),
            password: Some(Password::new("correct horse".to_owned())),
            login: Some(Login::new("battery staple".to_owned())),
            allow_plain_http: false,
        };
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("horse") && !shown.contains("staple"),
            "{shown}"
        );
        let mnemonic = Mnemonic::new("abandon ability".to_owned());
        assert!(!format!("{mnemonic:?}").contains("ability"));
    }
}
