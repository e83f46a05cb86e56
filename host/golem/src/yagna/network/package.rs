//! Packages as providers fetch them: images from where a registry says they are, archives from here.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use sha2::Sha256;
use sha3::{Digest, Sha3_256};
use sovr_capability::Untrusted;
use sovr_capability::capabilities::ImageName;

use super::session::Session;
use crate::blocking::blocking;
use crate::demand::{Form, Package, VmImage, WasiPackage};
use crate::transfer::BUFFER;
use crate::yagna::properties as names;

/// What runs archives: ours, and the stock one.
const WASI: [&str; 2] = [names::RUNTIME, names::RUNTIME_WASMTIME];
const VM: [&str; 1] = [names::RUNTIME_VM];
/// A registry answers within this time.
const REGISTRY: Duration = Duration::from_secs(30);
/// Most bytes of its answer.
const MOST: usize = 64 * 1024;
/// Hexadecimal digits of SHA3-224.
const HASH: usize = 56;

/// A form of a package that some runtimes run.
pub(super) struct Runnable {
    /// `hash:sha3:<hex>:<address>`.
    pub(super) package: String,
    /// In which form it is, if that is to be said.
    pub(super) format: Option<&'static str>,
    /// Any of these.
    pub(super) runtimes: &'static [&'static str],
    /// All of these.
    pub(super) capabilities: Vec<String>,
    /// How it is fetched, if that is not a way that every provider knows.
    pub(super) transfer: Option<String>,
}

impl Runnable {
    /// What it takes to run it, in words.
    pub(super) fn runtime(&self) -> String {
        let mut words = self.runtimes.join(" or ");
        for capability in &self.capabilities {
            words += &format!(" capable of {capability}");
        }
        if let Some(protocol) = &self.transfer {
            words += &format!(" that fetches by {protocol}");
        }
        words
    }

    /// Most threads that its programs have, whatever the provider says that it has.
    pub(super) fn most_threads(&self) -> u32 {
        // A WASI program has one.
        if self.runtimes == WASI { 1 } else { u32::MAX }
    }
}

/// Where an image is, as the registry says.
#[derive(Deserialize)]
struct Found {
    sha3: String,
    http: String,
}

/// The forms of a package that can be had, each ready to be fetched, and in words why others cannot.
pub(super) async fn prepare(package: &Package, session: &Session) -> (Vec<Runnable>, Vec<String>) {
    let (mut forms, mut problems) = (Vec::new(), Vec::new());
    for form in &package.forms {
        let prepared = match form {
            Form::Wasi(package) => serve(package, session).await,
            Form::Vm(image) => find(image, &session.settings.registry).await,
        };
        match prepared {
            Ok(form) => forms.push(form),
            Err(problem) => problems.push(problem),
        }
    }
    (forms, problems)
}

async fn serve(package: &WasiPackage, session: &Session) -> Result<Runnable, String> {
    let archive = Arc::clone(&package.archive);
    let what = archive.describe();
    let digest = package.digest;
    let hash = blocking(move || hash(&*archive, digest))
        .await
        .map_err(|error| format!("{what}: {error}"))?;
    let address = match &package.url {
        Some(url) => url.clone(),
        None => {
            let sending = session.files.send(Arc::clone(&package.archive)).await;
            let sending = sending.map_err(|error| format!("{what} cannot be served: {error}"))?;
            let address = sending.url().to_string();
            session.keep_package(sending);
            address
        }
    };
    Ok(Runnable {
        package: format!("hash:sha3:{hash}:{address}"),
        format: None,
        runtimes: &WASI,
        capabilities: Vec::new(),
        transfer: package.url.as_deref().and_then(scheme),
    })
}

/// SHA3-256 of what is there, in hexadecimal digits. Its SHA-256 must be `expected`, where that is known.
fn hash(
    archive: &dyn crate::transfer::Source,
    expected: Option<[u8; 32]>,
) -> Result<String, String> {
    let mut content = archive.open().map_err(|error| error.to_string())?;
    let (mut golem, mut ours) = (Sha3_256::new(), Sha256::new());
    let mut buffer = vec![0; BUFFER];
    loop {
        match content
            .read(&mut buffer)
            .map_err(|error| error.to_string())?
        {
            0 => break,
            read => {
                golem.update(&buffer[..read]);
                ours.update(&buffer[..read]);
            }
        }
    }
    let found: [u8; 32] = ours.finalize().into();
    if expected.is_some_and(|expected| expected != found) {
        return Err("it is not what was agreed: its SHA-256 differs".to_owned());
    }
    Ok(hex::encode(golem.finalize()))
}

fn scheme(url: &str) -> Option<String> {
    Some(url.split_once(':')?.0.to_owned())
}

async fn find(image: &VmImage, registry: &Url) -> Result<Runnable, String> {
    let (package, transfer) = match (&image.name, &image.url) {
        (ImageName::Hash(hash), Some(url)) => (format!("hash:sha3:{hash}:{url}"), scheme(url)),
        (name, _) => (look_up(name, registry).await?, None),
    };
    Ok(Runnable {
        package,
        format: Some(names::VM_PACKAGE_FORMAT),
        runtimes: &VM,
        capabilities: image.capabilities.clone(),
        transfer,
    })
}

/// Where the registry says that an image is.
async fn look_up(name: &ImageName, registry: &Url) -> Result<String, String> {
    let (key, value) = match name {
        ImageName::Hash(hash) => ("hash", hash),
        ImageName::Tag(tag) => ("tag", tag),
    };
    let attempt = format!("the image {value} cannot be looked up at {registry}");
    let why = |reason: &str| format!("{attempt}: {reason}");
    let mut url = registry.clone();
    url.path_segments_mut()
        .map_err(|()| why("that is no address of a registry"))?
        .pop_if_empty()
        .extend(["v1", "image", "info"]);
    url.query_pairs_mut()
        .append_pair(key, value)
        .append_pair("count", "true");
    let body = tokio::time::timeout(REGISTRY, fetch(url))
        .await
        .map_err(|_| why("it has not answered in time"))?
        .map_err(|reason| why(&reason))?;
    let found: Found = serde_json::from_slice(&body)
        .map_err(|error| why(&format!("its answer is not what it should be: {error}")))?;
    let is_hash = found.sha3.len() == HASH && found.sha3.bytes().all(|c| c.is_ascii_hexdigit());
    let is_other = key == "hash" && !found.sha3.eq_ignore_ascii_case(value);
    if !is_hash || is_other {
        return Err(why("it names another image"));
    }
    let is_address =
        Url::parse(&found.http).is_ok_and(|address| matches!(address.scheme(), "http" | "https"));
    if !is_address {
        return Err(why("it says no address where the image is"));
    }
    Ok(format!(
        "hash:sha3:{}:{}",
        found.sha3.to_lowercase(),
        found.http
    ))
}

async fn fetch(url: Url) -> Result<Vec<u8>, String> {
    let tell = |error: reqwest::Error| error.without_url().to_string();
    let client = sovr_http::client(&url).map_err(tell)?;
    let mut response = client.get(url).send().await.map_err(tell)?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(tell)? {
        if body.len() + piece.len() > MOST {
            return Err(format!("its answer has more than {MOST} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    let status = response.status();
    if status.is_success() {
        return Ok(body);
    }
    let told = Untrusted::new(String::from_utf8_lossy(&body).trim()).escaped_within(200);
    Err(format!("it answers {}, {told}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::hash;
    use crate::transfer::Bytes;
    use sha2::{Digest, Sha256};

    #[test]
    fn an_archive_other_than_the_expected_one_is_not_served() {
        let archive = Bytes::new(*b"abc");
        let known = hex::encode(sha3::Sha3_256::digest(b"abc"));
        assert_eq!(hash(&archive, None).unwrap(), known);
        let right: [u8; 32] = Sha256::digest(b"abc").into();
        assert_eq!(hash(&archive, Some(right)).unwrap(), known);
        assert!(
            hash(&archive, Some([0; 32]))
                .unwrap_err()
                .contains("SHA-256")
        );
    }
}
