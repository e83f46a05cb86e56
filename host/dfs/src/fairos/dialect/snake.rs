//! What FairOS-dfs v0.5 to v0.8.2-rc9 says, and what to say to it.
//!
//! Its calls are a part of the newer dialect's, with other names for the same fields. Who the user is goes in a
//! cookie, and the password goes with each call that makes, opens or shares a pod. A pod must be opened before
//! anything in it is touched. Nobody who is not logged in is told anything, and 400 is what it is told then.
//!
//! From v0.8.1 on there is a `v2/user/login`, too, for users of the name registry; it wants the names of this dialect,
//! which is how it is told from the newer one.
//!
//! v0.8.1 ends when it is to open a pod of the user's own without the password: it asks for it on a terminal.

use reqwest::header::{HeaderMap, SET_COOKIE};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::account::{Login, Password, Secret};
use super::Refusal;

/// The name of the cookie. No token of the newer dialect begins so: those have no `=`.
pub(in super::super) const COOKIE: &str = "fairOS-dfs=";

/// Names of the newer dialect and what they were.
const FIELDS: [(&str, &str); 15] = [
    ("userName", "user_name"),
    ("podName", "pod_name"),
    ("sharedPodName", "shared_pod_name"),
    ("podAddress", "pod_address"),
    ("userAddress", "user_address"),
    ("podSharingReference", "pod_sharing_reference"),
    ("sharingRef", "sharing_ref"),
    ("dirPath", "dir_path"),
    ("filePath", "file_path"),
    ("fileName", "file_name"),
    ("blockSize", "block_size"),
    ("contentType", "content_type"),
    ("publicKey", "public_key"),
    ("noOfDirectories", "no_of_directories"),
    ("noOfFiles", "no_of_files"),
];

/// Calls that want the password.
const WITH_PASSWORD: [&str; 4] = ["v1/pod/new", "v1/pod/open", "v1/pod/share", "v1/pod/delete"];

/// What a field of the newer dialect is called.
pub(super) fn older(name: &str) -> &str {
    let known = FIELDS.iter().find(|(newer, _)| *newer == name);
    known.map_or(name, |(_, older)| older)
}

fn newer(name: &str) -> &str {
    let known = FIELDS.iter().find(|(_, older)| *older == name);
    known.map_or(name, |(newer, _)| newer)
}

pub(super) fn body(path: &str, body: &Value, password: Option<&Password>) -> Value {
    let Value::Object(fields) = body else {
        return body.clone();
    };
    let mut translated: Map<String, Value> = fields
        .iter()
        .map(|(name, value)| (older(name).to_owned(), value.clone()))
        .collect();
    if let Some(password) = password.filter(|_| WITH_PASSWORD.contains(&path)) {
        translated.insert("password".to_owned(), password.0.reveal().into());
    }
    Value::Object(translated)
}

pub(super) fn answer<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let value = match serde_json::from_slice(body)? {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (newer(&name).to_owned(), value))
            .collect(),
        other => other,
    };
    serde_json::from_value(value)
}

/// The cookie that proves a login, without what a browser would want to know about it.
pub(in super::super) fn login(headers: &HeaderMap) -> Option<Login> {
    let cookies = headers.get_all(SET_COOKIE).iter();
    cookies
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .map(str::trim)
        .find(|cookie| cookie.len() > COOKIE.len() && cookie.starts_with(COOKIE))
        .map(|cookie| Login(Secret::from(cookie.to_owned())))
}

pub(super) fn refusal(status: u16, message: &str) -> Refusal {
    let reason = message.rsplit(": ").next().unwrap_or(message).trim();
    match reason {
        "invalid user name" => Refusal::NoSuchUser,
        "invalid pod name" | "shared pod does not exist" => Refusal::NoSuchPod,
        "resource was deleted" => Refusal::Deleted,
        "invalid file name" | "file does not exist" => Refusal::NoSuchFile,
        "pod not open" | "pod not opened" | "login to pod to do this operation" => {
            Refusal::PodNotOpen
        }
        "pod already open" => Refusal::PodOpen,
        r#""password" argument missing"# => Refusal::PasswordNeeded,
        "invalid cookie" | "invalid login timeout" => Refusal::NotLoggedIn,
        r#""cookie-id" parameter missing in cookie"# => Refusal::NotLoggedIn,
        _ if message.contains("could not find pod: ") => Refusal::PodNotOpen,
        _ if message.starts_with("cookie: ") => Refusal::NotLoggedIn,
        _ if message.contains("login timeout expired") => Refusal::NotLoggedIn,
        // Of a file it is a part that is missing, perhaps only now.
        _ if message.starts_with("pod receive")
            && (message.contains("could not download blob")
                || message.contains("error downloading")) =>
        {
            Refusal::NeverShared
        }
        _ => Refusal::of(status, message),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::super::{
        Counts, Dialect, Entered, Listing, Pods, ReceiveInfo, Shared, Uploaded, User,
    };
    use super::*;

    fn read<T: DeserializeOwned>(body: &str) -> T {
        answer(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_sent_has_the_older_names_and_the_password_where_it_is_wanted() {
        let password = Password::new("correct horse".to_owned());
        let pod = json!({ "podName": "data" });
        let with = json!({ "pod_name": "data", "password": "correct horse" });
        for path in ["v1/pod/new", "v1/pod/open", "v1/pod/share", "v1/pod/delete"] {
            assert_eq!(body(path, &pod, Some(&password)), with, "{path}");
        }
        let without = json!({ "pod_name": "data" });
        assert_eq!(body("v1/pod/close", &pod, Some(&password)), without);
        assert_eq!(body("v1/pod/open", &pod, None), without);
        let file = json!({ "podName": "data", "filePath": "/a", "dirPath": "/" });
        let older = json!({ "pod_name": "data", "file_path": "/a", "dir_path": "/" });
        assert_eq!(body("v1/file/delete", &file, Some(&password)), older);
        for (newer, older) in [
            ("podName", "pod_name"),
            ("sharingRef", "sharing_ref"),
            ("blockSize", "block_size"),
            ("files", "files"),
        ] {
            assert_eq!(Dialect::Snake.field(newer), older);
            assert_eq!(Dialect::Camel.field(newer), newer);
        }
    }

    /// Answers as handlers of v0.8 write them.
    #[test]
    fn answers_are_read_under_their_older_names() {
        let pods: Pods = read(r#"{"pod_name":["data"],"shared_pod_name":["theirs"]}"#);
        assert_eq!(
            (pods.pods, pods.shared_pods),
            (vec!["data".to_owned()], vec!["theirs".to_owned()])
        );
        let none: Pods = read(r#"{"pod_name":[],"shared_pod_name":null}"#);
        assert!(none.pods.is_empty() && none.shared_pods.is_empty());
        let shared: Shared = read(r#"{"pod_sharing_reference":"00ff"}"#);
        assert_eq!(shared.pod_sharing_reference, "00ff");
        let info: ReceiveInfo = read(
            r#"{"pod_name":"data","pod_address":"0xab","user_name":"alice","user_address":"0xcd",
                "shared_time":"2022-10-01 12:00:00"}"#,
        );
        assert_eq!(
            (&*info.pod_name, &*info.pod_address, &*info.user_address),
            ("data", "0xab", "0xcd")
        );
        let user: User = read(r#"{"user_name":"alice","address":"0xcd"}"#);
        assert_eq!((&*user.user_name, &*user.address), ("alice", "0xcd"));
        let entered: Entered = read(r#"{"message":"user logged-in successfully","code":200}"#);
        assert!(entered.access_token.is_none() && entered.mnemonic.is_none());
        let listing: Listing = read(
            r#"{"dirs":[{"name":"a","content_type":"inode/directory","creation_time":"1"}],
                "files":[{"name":"b","content_type":"","size":"13","block_size":"64000"}]}"#,
        );
        assert_eq!((&*listing.dirs[0].name, listing.files[0].size), ("a", 13));
        let counts: Counts = read(
            r#"{"pod_name":"data","dir_path":"","dir_name":"/","no_of_directories":"1","no_of_files":"2"}"#,
        );
        assert_eq!((counts.directories, counts.files), (1, 2));
        let done = read::<Uploaded>(
            r#"{"Responses":[{"file_name":"a","message":"uploaded succesfully"}]}"#,
        );
        assert!(done.fault().is_none());
        let failed: Uploaded =
            read(r#"{"Responses":[{"file_name":"a","message":"error uploading data"}]}"#);
        assert_eq!(failed.fault().unwrap().raw(), "error uploading data");
        assert!(answer::<Pods>(b"7").is_err());
    }

    /// Messages as handlers of v0.8 write them, or as they were seen.
    #[test]
    fn messages_mean_what_the_server_means_by_them() {
        for (status, message, expected) in [
            (
                400,
                "cookie: invalid cookie: http: named cookie not present",
                Refusal::NotLoggedIn,
            ),
            (
                400,
                "cookie: invalid cookie: securecookie: the value is not valid",
                Refusal::NotLoggedIn,
            ),
            (
                400,
                "Logging out as cookie login timeout expired",
                Refusal::NotLoggedIn,
            ),
            (400, "ls pod: user not logged in", Refusal::NotLoggedIn),
            (400, "user login: invalid user name", Refusal::NoSuchUser),
            (400, "user login: invalid password", Refusal::WrongPassword),
            (
                400,
                "user signup: user name already present",
                Refusal::UserExists,
            ),
            (400, "ls: pod not open", Refusal::PodNotOpen),
            (
                500,
                "delete pod: could not find pod: data",
                Refusal::PodNotOpen,
            ),
            (500, "pod open: pod already open", Refusal::PodOpen),
            (400, "pod open: invalid pod name", Refusal::NoSuchPod),
            (404, "pod open: pod does not exist", Refusal::NoSuchPod),
            (500, "pod open: resource was deleted", Refusal::Deleted),
            (404, "file delete: file does not exist", Refusal::NoSuchFile),
            (400, "pod new: pod already exists", Refusal::PodExists),
            (
                400,
                r#"pod share: "password" argument missing"#,
                Refusal::PasswordNeeded,
            ),
            (404, "ls: directory not present", Refusal::NoSuchDirectory),
            (
                500,
                "pod receive info: error downloading data",
                Refusal::NeverShared,
            ),
            (
                500,
                "pod receive info: ReceivePodInfo: could not download blob",
                Refusal::NeverShared,
            ),
            (
                500,
                "file delete: operation not permitted: read only pod",
                Refusal::ReadOnly,
            ),
            (
                500,
                "pod receive info: error downloading blob ",
                Refusal::NeverShared,
            ),
            (500, "download: error downloading blob ", Refusal::Unknown),
            (500, "user stat: invalid user name", Refusal::NoSuchUser),
            (500, "mkdir: something new", Refusal::Unknown),
        ] {
            assert_eq!(refusal(status, message), expected, "{message}");
        }
    }

    #[test]
    fn a_cookie_is_kept_without_its_attributes() {
        let of = |cookies: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
            }
            login(&headers).map(|login| login.reveal().to_owned())
        };
        let cookie =
            "fairOS-dfs=MTY=|x; Path=/; Domain=api.fairos.io; HttpOnly; Secure; SameSite=None";
        assert_eq!(of(&["other=1", cookie]).unwrap(), "fairOS-dfs=MTY=|x");
        assert!(of(&[]).is_none());
        assert!(of(&["fairOS-dfs=; Max-Age=0"]).is_none());
        assert!(of(&["other=fairOS-dfs=1"]).is_none());
    }
}
