//! What is offered to others: `[provide]` of `networks.toml`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sovr_capability::{Amount, Size};
use sovr_golem::LinearPrice;
use sovr_golem::provider::Settings;

use super::super::{SettingsError, invalid, text};
use super::yagna::{SUBNET, Yagna};

/// What the file says. Each key has an option of `sovr-host provide` that goes before it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Section {
    name: Option<String>,
    subnet: Option<String>,
    platforms: Option<Vec<String>>,
    price: Price,
    threads: Option<u32>,
    memory: Option<Size>,
    storage: Option<Size>,
    capacity: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Price {
    start: Amount,
    cpu_second: Amount,
    duration_second: Amount,
}

impl Default for Price {
    /// About what providers of this machine ask: a minute at work costs a hundredth of a GLM.
    fn default() -> Self {
        let amount = |text: &str| text.parse().expect("the default is an amount");
        Self {
            start: amount("0.001"),
            cpu_second: amount("0.0001"),
            duration_second: amount("0.0001"),
        }
    }
}

/// What is offered, in the market and under the name that the user's own runs have, unless the table says otherwise.
/// Activities work in `scratch`.
pub(super) fn settings(
    path: &Path,
    section: Section,
    yagna: &Yagna,
    scratch: PathBuf,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<Settings, SettingsError> {
    let price = LinearPrice {
        start: section.price.start,
        cpu_second: section.price.cpu_second,
        duration_second: section.price.duration_second,
    };
    let name = section.name.unwrap_or_else(|| yagna.node_name.clone());
    let usual = Settings::new(name, price, scratch);
    // The variable, which stands in `yagna` already, goes before both tables.
    let in_table = match text(variable, SUBNET)? {
        Some(_) => None,
        None => section.subnet,
    };
    let settings = Settings {
        subnet: in_table.unwrap_or_else(|| yagna.subnet.clone()),
        platforms: section.platforms.unwrap_or_else(|| vec![yagna.platform()]),
        threads: section.threads.unwrap_or(usual.threads),
        memory: section.memory.map_or(usual.memory, Size::as_bytes),
        storage: section.storage.map_or(usual.storage, Size::as_bytes),
        capacity: section.capacity.unwrap_or(usual.capacity),
        ..usual
    };
    let checked = settings.check();
    checked.map_err(|error| invalid(path)(format!("[provide]: {error}")))?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::Settings;

    fn provide(file: &str, variables: &[(&str, &str)]) -> Settings {
        load(file, variables).unwrap().provide
    }

    #[test]
    fn every_key_is_understood() {
        let file = r#"
            [provide]
            name = "oak"
            subnet = "mine"
            platforms = ["erc20-polygon-glm", "erc20-holesky-tglm"]
            threads = 3
            memory = "1GiB"
            storage = "5GiB"
            capacity = 2
            [provide.price]
            start = "0.5"
            cpu-second = "0.25"
            duration-second = "0.125"
        "#;
        let offered = provide(file, &[]);
        assert_eq!(
            (offered.name.as_str(), offered.subnet.as_str()),
            ("oak", "mine")
        );
        assert_eq!(
            offered.platforms,
            ["erc20-polygon-glm", "erc20-holesky-tglm"]
        );
        assert_eq!((offered.threads, offered.capacity), (3, 2));
        assert_eq!((offered.memory, offered.storage), (1 << 30, 5 << 30));
        let price = [
            offered.price.start,
            offered.price.cpu_second,
            offered.price.duration_second,
        ];
        assert_eq!(
            price.map(|amount| amount.to_string()),
            ["0.5", "0.25", "0.125"]
        );
    }

    #[test]
    fn what_is_left_out_is_as_the_users_own_runs_have_it() {
        let usual = provide("", &[]);
        assert_eq!(
            (usual.name.as_str(), usual.subnet.as_str()),
            ("sovr-host", "public")
        );
        assert_eq!(usual.platforms, ["erc20-holesky-tglm"]);
        assert_eq!(usual.price.start.to_string(), "0.001");

        let yagna = "[yagna]\nsubnet = \"mine\"\nnode-name = \"me\"\nnetwork = \"polygon\"\n";
        let offered = provide(yagna, &[]);
        assert_eq!(
            (offered.name.as_str(), offered.subnet.as_str()),
            ("me", "mine")
        );
        assert_eq!(offered.platforms, ["erc20-polygon-glm"]);
        let apart = format!("{yagna}[provide]\nsubnet = \"apart\"\nprice.start = \"2\"");
        assert_eq!(provide(&apart, &[]).subnet, "apart");
        assert_eq!(
            provide(&apart, &[("YAGNA_SUBNET", "theirs")]).subnet,
            "theirs"
        );
        let price = provide(&apart, &[]).price;
        assert_eq!(
            (price.start.to_string(), price.cpu_second.to_string()),
            ("2".to_owned(), "0.0001".to_owned())
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (line, words) in [
            (
                "thread = 2",
                &["line 2", "`thread`", "`threads`, `memory`"][..],
            ),
            ("price.cpu = \"1\"", &["line 2", "`cpu`", "`cpu-second`"]),
            ("price.start = 1", &["line 2", "an amount of GLM such as"]),
            ("memory = \"4GB\"", &["line 2", "ambiguous"]),
            ("memory = \"1MiB\"", &["[provide]", "16 MiB"]),
            ("threads = 0", &["[provide]", "threads and capacity"]),
            ("subnet = \"a)(b\"", &["[provide]", "subnet"]),
            ("name = \"\"", &["[provide]", "name"]),
            (
                "platforms = [\"glm\"]",
                &["[provide]", "erc20-holesky-tglm"],
            ),
        ] {
            let problem = load(&format!("[provide]\n{line}"), &[]).unwrap_err();
            for word in words.iter().chain(&["networks.toml"]) {
                assert!(problem.contains(word), "{word}: {problem}");
            }
        }
    }
}
