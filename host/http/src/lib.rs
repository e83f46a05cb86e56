//! The way to servers that are trusted with a secret: the storage server with a login, the Golem daemon with its app-key.
//!
//! One place, so that both keep the same rules. A redirect is not followed: it would carry the secret to a place that
//! nobody configured. A proxy of the environment is not used for this machine itself. Nothing is sent twice unasked. A
//! server's certificate must be signed by one of Mozilla's authorities; those of the machine are not asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// A client for what is at this address.
///
/// # Errors
/// When none can be made, which no address is the reason for.
pub fn client(server: &Url) -> Result<Client, reqwest::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows the versions that rustls knows")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .retry(reqwest::retry::never())
        .referer(false);
    if is_here(server) {
        builder = builder.no_proxy();
    }
    builder.build()
}

/// Whether an address is of this machine, so that what is sent there unencrypted leaves it nowhere.
#[must_use]
pub fn is_here(server: &Url) -> bool {
    server.host_str().is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || bare
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::is_here;

    #[test]
    fn only_this_machine_is_here() {
        let here = |address| is_here(&Url::parse(address).unwrap());
        for address in [
            "http://localhost:1",
            "http://127.3.2.1",
            "http://[::1]:80/a",
            "https://LOCALHOST",
        ] {
            assert!(here(address), "{address}");
        }
        for address in [
            "http://localhost.example.org",
            "http://192.168.0.1",
            "http://[::2]",
            "unix:/run/x",
        ] {
            assert!(!here(address), "{address}");
        }
    }
}
