//! The daemon of the Golem network: `[yagna]` of `networks.toml`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sovr_dfs::fairos::Url;
use sovr_golem::yagna::{self, AppKey, NetworkSettings};

use super::super::{SettingsError, invalid, private, text};

/// Where the app-key may stand.
pub const APP_KEY: &str = "YAGNA_APPKEY";
/// The market's subnet.
pub(super) const SUBNET: &str = "YAGNA_SUBNET";
/// Where a daemon of one's own listens.
const DEFAULT_API: &str = "http://127.0.0.1:7465";
/// Where images of virtual machines are looked up.
const DEFAULT_REGISTRY: &str = "https://registry.golem.network";
/// As the makers' clients have it: a network whose money is worth nothing.
const DEFAULT_DRIVER: &str = "erc20";
const DEFAULT_NETWORK: &str = "holesky";
/// Golem's ordinary market.
pub(crate) const DEFAULT_SUBNET: &str = "public";
const DEFAULT_NODE_NAME: &str = "sovr-host";
/// A key has 32 characters as the daemon makes them; its owner may have chosen another.
const MOST_KEY_BYTES: usize = 4096;
const MOST_NAME: usize = 64;

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Section {
    api: Option<String>,
    market: Option<String>,
    payment: Option<String>,
    activity: Option<String>,
    app_key_file: Option<PathBuf>,
    driver: Option<String>,
    network: Option<String>,
    subnet: Option<String>,
    registry: Option<String>,
    node_name: Option<String>,
}

/// How the Golem network is reached.
#[derive(Debug, Clone)]
pub struct Yagna {
    /// Where the daemon listens, without the paths of its parts.
    pub api: Url,
    /// Where its market is, if elsewhere; with the path.
    pub market: Option<Url>,
    /// Where its payments are, if elsewhere; with the path.
    pub payment: Option<Url>,
    /// Where its activities are, if elsewhere; with the path.
    pub activity: Option<Url>,
    /// The payment driver.
    pub driver: String,
    /// The payment network.
    pub network: String,
    /// The market's subnet, in place of `public`.
    pub subnet: String,
    /// Where images of virtual machines are looked up.
    pub registry: Url,
    /// What providers see as the requestor's name.
    pub node_name: String,
    /// Where the app-key is.
    pub key: KeyPlace,
}

/// Where the app-key is.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum KeyPlace {
    /// In the environment, in [`APP_KEY`].
    Variable(#[serde(skip)] AppKey),
    /// In a file.
    File {
        /// Which; absolute.
        path: PathBuf,
    },
    /// Nothing says.
    Nowhere,
}

impl Yagna {
    pub(super) fn new(
        path: &Path,
        section: Section,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let source = Source { path, variable };
        let key = match (text(variable, APP_KEY)?, section.app_key_file) {
            (Some(key), _) => KeyPlace::Variable(AppKey::new(key)),
            (None, Some(named)) if named.is_relative() => {
                // Not repeated: it may be the key itself.
                let problem = "`app-key-file` in [yagna] is not an absolute path".to_owned();
                return Err(invalid(path)(problem));
            }
            (None, Some(path)) => KeyPlace::File { path },
            (None, None) => KeyPlace::Nowhere,
        };
        let address = |(key, name), given| source.given(key, name, given, yagna::address);
        let word = |(key, name), given| source.given(key, name, given, word);
        let small = |(key, name), given| source.given(key, name, given, small);
        let or_url = |url: Option<Url>, default| match url {
            Some(url) => Ok(url),
            None => yagna::address(default).map_err(invalid(path)),
        };
        let or = |word: Option<String>, default: &str| word.unwrap_or_else(|| default.to_owned());
        Ok(Self {
            api: or_url(address(("api", "YAGNA_API_URL"), section.api)?, DEFAULT_API)?,
            market: address(("market", "YAGNA_MARKET_URL"), section.market)?,
            payment: address(("payment", "YAGNA_PAYMENT_URL"), section.payment)?,
            activity: address(("activity", "YAGNA_ACTIVITY_URL"), section.activity)?,
            driver: or(
                small(("driver", "YAGNA_PAYMENT_DRIVER"), section.driver)?,
                DEFAULT_DRIVER,
            ),
            network: or(
                small(("network", "YAGNA_PAYMENT_NETWORK"), section.network)?,
                DEFAULT_NETWORK,
            ),
            subnet: or(word(("subnet", SUBNET), section.subnet)?, DEFAULT_SUBNET),
            registry: or_url(
                address(("registry", "GOLEM_REGISTRY_URL"), section.registry)?,
                DEFAULT_REGISTRY,
            )?,
            node_name: or(
                source.in_file("node-name", section.node_name, word_or_more)?,
                DEFAULT_NODE_NAME,
            ),
            key,
        })
    }

    /// How is paid, in the daemon's form: `erc20-holesky-tglm`.
    #[must_use]
    pub fn platform(&self) -> String {
        yagna::platform(&self.driver, &self.network)
    }

    /// All that the network needs, with the key. Nothing is sent yet.
    ///
    /// # Errors
    /// When there is no key, or its file cannot be used.
    pub fn with_key(&self) -> Result<NetworkSettings, SettingsError> {
        let app_key = match &self.key {
            KeyPlace::Variable(key) => key.clone(),
            KeyPlace::File { path } => read_key(path)?,
            KeyPlace::Nowhere => return Err(SettingsError::NoAppKey),
        };
        let daemon = yagna::Settings {
            api: self.api.clone(),
            market: self.market.clone(),
            payment: self.payment.clone(),
            activity: self.activity.clone(),
            app_key,
        };
        Ok(NetworkSettings {
            driver: self.driver.clone(),
            network: self.network.clone(),
            subnet: self.subnet.clone(),
            registry: self.registry.clone(),
            node_name: Some(self.node_name.clone()),
            ..NetworkSettings::new(daemon)
        })
    }
}

/// Where settings come from.
struct Source<'a, V> {
    path: &'a Path,
    variable: &'a V,
}

impl<V: Fn(&str) -> Option<OsString>> Source<'_, V> {
    /// What the variable or else the file says, understood by `parse`.
    fn given<T>(
        &self,
        key: &str,
        name: &'static str,
        in_file: Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        if let Some(given) = text(self.variable, name)? {
            let parsed = parse(&given).map_err(|problem| SettingsError::Variable {
                variable: name,
                problem,
            });
            return parsed.map(Some);
        }
        self.in_file(key, in_file, parse)
    }

    fn in_file<T>(
        &self,
        key: &str,
        given: Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        let parsed = given.as_deref().map(parse).transpose();
        parsed.map_err(|problem| invalid(self.path)(format!("`{key}` in [yagna]: {problem}")))
    }
}

/// A word that can stand in a property, in a constraint and in an address without being taken for something else.
fn word(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=MOST_NAME).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "it is to have 1 to {MOST_NAME} letters, digits, `-`, `_` and `.`"
        ))
    }
}

/// The same in small letters, which are all that the daemon takes for drivers and networks.
fn small(text: &str) -> Result<String, String> {
    word(text).map(|word| word.to_lowercase())
}

/// A name for people.
fn word_or_more(text: &str) -> Result<String, String> {
    let shown = |c: char| !sovr_capability::text::is_hidden(c);
    if (1..=MOST_NAME).contains(&text.len()) && text.chars().all(shown) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "it is to have 1 to {MOST_NAME} bytes, all of which can be seen"
        ))
    }
}

/// The key in a file that is for its owner alone.
fn read_key(path: &Path) -> Result<AppKey, SettingsError> {
    let unfit = |problem: String| SettingsError::AppKeyFile {
        path: path.to_owned(),
        problem,
    };
    let file = private::read(path, MOST_KEY_BYTES).map_err(unfit)?;
    if file.is_foreign() {
        let problem = "belongs to another user, who can read the key; make a file of your own";
        return Err(unfit(problem.to_owned()));
    }
    if file.is_open() {
        let shown = path.display();
        return Err(unfit(format!(
            "is open to other users of this machine; close it with `chmod 600 {shown}`"
        )));
    }
    let key = std::str::from_utf8(&file.content)
        .unwrap_or_default()
        .trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "does not hold an app-key and nothing else; `yagna app-key list` shows them";
        return Err(unfit(problem.to_owned()));
    }
    Ok(AppKey::new(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What comes of a file with this content and these permissions.
    fn key_in(content: &[u8], mode: u32) -> Result<AppKey, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("golem.key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        read_key(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_read_from_a_file_for_its_owner_alone() {
        assert!(key_in(b"0123abcd\n", 0o600).is_ok());
        assert!(key_in(b"0123abcd", 0o400).is_ok());
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let refused = key_in(b"0123abcd", mode).unwrap_err();
            assert!(
                refused.contains("chmod 600") && refused.contains("golem.key"),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_holds_no_key_is_told_without_what_it_holds() {
        for content in [
            &b""[..],
            b" \n",
            b"two words",
            b"one\ntwo",
            b"secret\x1b[2J",
            b"secret\xff",
        ] {
            let refused = key_in(content, 0o600).unwrap_err();
            assert!(refused.contains("does not hold an app-key"), "{refused}");
            assert!(!refused.contains("secret") && !refused.contains("two"));
        }
        let long = key_in(&[b'a'; MOST_KEY_BYTES + 1], 0o600).unwrap_err();
        assert!(long.contains("more than 4096 bytes"), "{long}");
        let none = read_key(Path::new("/nowhere/golem.key")).unwrap_err();
        assert!(none.to_string().contains("cannot be read"), "{none}");
    }
}
