//! The user's `networks.toml`: which network runs work on, and how each is reached.
//!
//! ```toml
//! kind = "local"               # or "yagna"; SOVR_NETWORK overrides it, and `--network` overrides that
//! [local]                      # providers of this machine
//! providers = 4                # default: as many as there are processors, 3 to 16
//! [local.price]                # GLM; the same for all, by default each asks a little more than the one before
//! start = "0.001"              # once per activity
//! cpu-second = "0.0001"
//! duration-second = "0.0001"
//! [local.faults]               # by provider, from 0; for trying what a pod makes of bad providers
//! 0 = "vanish"
//! 2 = { slow = "5s" }
//! [yagna]                      # the Golem network, through a `yagna` daemon
//! api = "http://127.0.0.1:7465"                 # default; YAGNA_API_URL overrides it
//! app-key-file = "/home/me/golem.key"           # holds the key and nothing else; YAGNA_APPKEY overrides it
//! driver = "erc20"                              # default; YAGNA_PAYMENT_DRIVER overrides it
//! network = "holesky"                           # default; YAGNA_PAYMENT_NETWORK overrides it
//! subnet = "public"                             # default, goes where a pod means `public`; YAGNA_SUBNET
//! registry = "https://registry.golem.network"   # of VM images, default; GOLEM_REGISTRY_URL overrides it
//! node-name = "me"                              # what providers see; default: `sovr-host`
//! market = "http://127.0.0.1:7465/market-api/v1"    # a part of the daemon that is elsewhere; YAGNA_MARKET_URL
//! payment = "..."                               # YAGNA_PAYMENT_URL
//! activity = "..."                              # YAGNA_ACTIVITY_URL
//! [provide]                    # what `sovr-host provide` offers; each key has an option that overrides it
//! name = "oak"                 # default: the node-name of [yagna]
//! subnet = "public"            # default: that of [yagna]; YAGNA_SUBNET overrides both
//! platforms = ["erc20-holesky-tglm"]            # how requestors may pay; default: driver and network of [yagna]
//! threads = 1                  # of an agreement: as many activities at a time
//! memory = "2GiB"              # of each program
//! storage = "4GiB"             # of each activity
//! capacity = 1                 # agreements at a time
//! [provide.price]              # GLM
//! start = "0.001"              # once per activity
//! cpu-second = "0.0001"
//! duration-second = "0.0001"
//! ```
//!
//! A fault is `fail-command`, `hang`, `short-file`, `vanish`, `refuse-agreement`, `lie-about-usage`,
//! `lie-about-price` or `slow` with the delay of each command.
//!
//! The variables of `[yagna]` are those that Golem's own programs read, so what works for them works here. The app-key
//! stands in none of the tables and is no option of any command: it would be in backups, or in the list of processes.

mod local;
mod provide;
mod yagna;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use self::yagna::DEFAULT_SUBNET;
pub use self::yagna::{APP_KEY, KeyPlace, Yagna};
use super::SettingsError;

/// The kinds of network. The words are those of the file, the environment and `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// Providers of this machine.
    #[default]
    Local,
    /// The Golem network, through a `yagna` daemon.
    Yagna,
}

impl NetworkKind {
    /// All of them with their words.
    pub const ALL: [(&'static str, NetworkKind); 2] =
        [("local", NetworkKind::Local), ("yagna", NetworkKind::Yagna)];
}

/// What the user's runs can work on. All of it is checked, whichever network is chosen: a mistake is better found
/// before it is needed.
#[derive(Debug, Clone)]
pub struct Networks {
    /// Which one runs work on.
    pub kind: NetworkKind,
    /// The network of this machine.
    pub local: sovr_golem::local::Settings,
    /// The daemon of the Golem network.
    pub yagna: Yagna,
    /// What is offered to others on it.
    pub provide: sovr_golem::provider::Settings,
}

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    kind: NetworkKind,
    local: local::Section,
    yagna: yagna::Section,
    provide: provide::Section,
}

impl Networks {
    /// What the file at `path` and the environment say. A `kind` of the command line goes before both. Whoever provides
    /// on this machine works in `scratch`. The file with the app-key is not opened yet.
    ///
    /// # Errors
    /// When the file or a variable cannot be used.
    pub fn load(
        path: &Path,
        kind: Option<NetworkKind>,
        scratch: PathBuf,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let text = super::read(path)?;
        let file: File = toml::from_str(&text)
            .map_err(|error| super::invalid(path)(super::in_file(&text, &error)))?;
        let kind = match kind {
            Some(kind) => kind,
            None => named(&variable)?.unwrap_or(file.kind),
        };
        let yagna = Yagna::new(path, file.yagna, &variable)?;
        let provide = provide::settings(path, file.provide, &yagna, scratch.clone(), &variable)?;
        Ok(Self {
            kind,
            local: local::settings(file.local, scratch).map_err(super::invalid(path))?,
            yagna,
            provide,
        })
    }
}

impl Networks {
    /// Where a demand goes that is for Golem's ordinary market, `public`: elsewhere if the user works in a market apart,
    /// as the official programs do it. A pod that asks for another subnet means that one.
    #[must_use]
    pub fn public_subnet(&self) -> &str {
        match self.kind {
            NetworkKind::Local => DEFAULT_SUBNET,
            NetworkKind::Yagna => &self.yagna.subnet,
        }
    }
}

/// The kind that the environment names.
fn named(
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<Option<NetworkKind>, SettingsError> {
    const NETWORK: &str = "SOVR_NETWORK";
    let Some(word) = super::text(variable, NETWORK)? else {
        return Ok(None);
    };
    match NetworkKind::ALL.iter().find(|(known, _)| *known == word) {
        Some((_, kind)) => Ok(Some(*kind)),
        None => Err(SettingsError::Variable {
            variable: NETWORK,
            problem: "it is neither `local` nor `yagna`".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(file: &str, variables: &[(&str, &str)]) -> Result<Networks, String> {
        load_as(None, file, variables)
    }

    fn load_as(
        kind: Option<NetworkKind>,
        file: &str,
        variables: &[(&str, &str)],
    ) -> Result<Networks, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("networks.toml");
        std::fs::write(&path, file).unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(found.1))
        };
        Networks::load(&path, kind, PathBuf::from("/scratch"), variable)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
        let kind = |given, file: &str, variables: &[(&str, &str)]| {
            load_as(given, file, variables).unwrap().kind
        };
        let (yagna, local) = ("kind = \"yagna\"", &[("SOVR_NETWORK", "local")][..]);
        assert_eq!(kind(None, "", &[]), NetworkKind::Local);
        assert_eq!(kind(None, yagna, &[]), NetworkKind::Yagna);
        assert_eq!(kind(None, yagna, local), NetworkKind::Local);
        assert_eq!(
            kind(Some(NetworkKind::Yagna), "", local),
            NetworkKind::Yagna
        );
    }

    #[test]
    fn without_anything_the_daemon_is_where_it_is_by_default() {
        let yagna = load("", &[]).unwrap().yagna;
        assert_eq!(yagna.api.as_str(), "http://127.0.0.1:7465/");
        assert_eq!(
            (yagna.driver.as_str(), yagna.network.as_str()),
            ("erc20", "holesky")
        );
        assert_eq!(yagna.subnet, "public");
        assert!(matches!(yagna.with_key(), Err(SettingsError::NoAppKey)));
    }

    #[test]
    fn every_key_of_the_daemon_is_understood_and_its_variable_goes_before() {
        let file = r#"
            [yagna]
            api = "https://golem.example/yagna"
            market = "http://localhost:1/market-api/v1"
            payment = "http://localhost:2/payment-api/v1"
            activity = "http://localhost:3/activity-api/v1"
            driver = "erc20next"
            network = "polygon"
            subnet = "mine"
            registry = "https://registry.example"
            node-name = "me"
        "#;
        let from_file = load(file, &[]).unwrap().yagna;
        assert_eq!(from_file.api.as_str(), "https://golem.example/yagna");
        assert_eq!(from_file.market.unwrap().port(), Some(1));
        assert_eq!(from_file.payment.unwrap().port(), Some(2));
        assert_eq!(from_file.activity.unwrap().port(), Some(3));
        assert_eq!(
            (from_file.driver.as_str(), from_file.network.as_str()),
            ("erc20next", "polygon")
        );
        assert_eq!(from_file.subnet, "mine");
        assert_eq!(from_file.registry.as_str(), "https://registry.example/");
        assert_eq!(from_file.node_name, "me");

        let variables = [
            ("YAGNA_API_URL", "http://localhost:9"),
            ("YAGNA_MARKET_URL", "http://localhost:11/m"),
            ("YAGNA_PAYMENT_URL", "http://localhost:12/p"),
            ("YAGNA_ACTIVITY_URL", "http://localhost:13/a"),
            ("YAGNA_PAYMENT_DRIVER", "erc20"),
            ("YAGNA_PAYMENT_NETWORK", "Hoodi"),
            (APP_KEY, "0123"),
            ("YAGNA_SUBNET", "theirs"),
            ("GOLEM_REGISTRY_URL", "http://127.0.0.1:14"),
        ];
        let from_variables = load(file, &variables).unwrap().yagna;
        assert_eq!(from_variables.api.port(), Some(9));
        let port = |url: &Option<sovr_dfs::fairos::Url>| url.as_ref().and_then(|url| url.port());
        assert_eq!(port(&from_variables.market), Some(11));
        assert_eq!(port(&from_variables.payment), Some(12));
        assert_eq!(port(&from_variables.activity), Some(13));
        assert_eq!(
            (
                from_variables.driver.as_str(),
                from_variables.network.as_str()
            ),
            ("erc20", "hoodi")
        );
        assert_eq!(from_variables.subnet, "theirs");
        assert_eq!(from_variables.registry.port(), Some(14));
        let whole = from_variables.with_key().unwrap();
        assert_eq!(whole.platform(), "erc20-hoodi-tglm");
        assert_eq!(whole.daemon.api.port(), Some(9));
        assert_eq!(whole.node_name.as_deref(), Some("me"));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (file, variables, words) in [
            (
                "[lokal]",
                &[][..],
                &["networks.toml", "line 1", "lokal"][..],
            ),
            (
                "kind = \"gollum\"",
                &[],
                &["networks.toml", "line 1", "gollum"],
            ),
            (
                "[yagna]\n\nsubnets = \"x\"",
                &[],
                &["networks.toml", "line 3", "subnets"],
            ),
            (
                "[yagna]\napi = \"here\"",
                &[],
                &["networks.toml", "`api` in [yagna]"],
            ),
            (
                "[yagna]\nmarket = \"http://192.0.2.1:1/m\"",
                &[],
                &["`market` in [yagna]", "in the clear"],
            ),
            ("[yagna]\nregistry = \"x\"", &[], &["`registry` in [yagna]"]),
            (
                "[yagna]\nsubnet = \"a)(b=*\"",
                &[],
                &["`subnet` in [yagna]", "letters"],
            ),
            (
                "[yagna]\ndriver = \"\"",
                &[],
                &["`driver` in [yagna]", "letters"],
            ),
            (
                "[yagna]\nnode-name = \"\\u001b[2J\"",
                &[],
                &["`node-name` in [yagna]"],
            ),
            (
                "[yagna]\napp-key-file = \"key\"",
                &[],
                &["`app-key-file` in [yagna]", "absolute"],
            ),
            (
                "[local]\nproviders = 0",
                &[],
                &["networks.toml", "local.providers"],
            ),
            (
                "",
                &[("SOVR_NETWORK", "golem")],
                &["SOVR_NETWORK", "neither"],
            ),
            ("", &[("YAGNA_SUBNET", "a b")], &["YAGNA_SUBNET", "letters"]),
            (
                "",
                &[("YAGNA_API_URL", "ftp://localhost")],
                &["YAGNA_API_URL", "neither http nor https"],
            ),
            (
                "",
                &[("YAGNA_PAYMENT_NETWORK", "../x")],
                &["YAGNA_PAYMENT_NETWORK"],
            ),
        ] {
            let problem = load(file, variables).unwrap_err();
            for word in words {
                assert!(problem.contains(word), "{word}: {problem}");
            }
            assert!(!problem.contains('\u{1b}'), "{problem:?}");
        }
    }

    #[test]
    fn a_key_that_stands_where_it_should_not_is_not_repeated() {
        let secret = "0123456789abcdef0123456789abcdef";
        for (file, variables) in [
            (format!("[yagna]\napp-key = \"{secret}\""), &[][..]),
            (format!("[yagna]\napp-key-file = \"{secret}\""), &[]),
            (format!("[yagna]\napp-key-file = {secret}"), &[]),
            (
                format!("[yagna]\napi = \"http://me:{secret}@localhost:1\""),
                &[],
            ),
            (
                String::new(),
                &[(
                    "YAGNA_API_URL",
                    "http://me:0123456789abcdef0123456789abcdef@localhost:1",
                )],
            ),
        ] {
            let problem = load(&file, variables).unwrap_err();
            assert!(!problem.contains(secret), "{problem}");
        }
        let networks = load("", &[("YAGNA_APPKEY", secret)]).unwrap();
        assert!(!format!("{networks:?}").contains(secret));
    }
}
