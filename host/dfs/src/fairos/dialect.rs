//! What FairOS-dfs says: its answers, and the meaning of its error messages.
//!
//! There are two dialects, and no release speaks both. This module knows the newer one (v0.9.5 to v0.10.1), in which
//! the rest of the client speaks too; [`snake`] translates it into the older one and back.
//!
//! A status says little: most failures are 500. The text after the last `: ` of the message says what is wrong, so
//! that is matched; a message that is not known means nothing but failure.

pub(super) mod snake;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sovr_capability::Untrusted;

use super::account::{Password, Secret};

/// What a server understands. Which one it is follows from what it answers to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Names such as `podName`, a token, and calls that need no login.
    Camel,
    /// Names such as `pod_name`, a cookie, the password with each pod, and fewer calls.
    Snake,
}

impl Dialect {
    /// Whether the server has what came with the newer dialect: to rename, to copy a pod, and to read what is shared
    /// without receiving it.
    pub(super) fn is_full(self) -> bool {
        self == Dialect::Camel
    }

    /// A field of a form or of a query, by its newer name.
    pub(super) fn field(self, name: &'static str) -> &'static str {
        match self {
            Dialect::Camel => name,
            Dialect::Snake => snake::older(name),
        }
    }

    /// What is sent with a call.
    pub(super) fn body(self, path: &str, body: &Value, password: Option<&Password>) -> Value {
        match self {
            Dialect::Camel => body.clone(),
            Dialect::Snake => snake::body(path, body, password),
        }
    }

    /// What was answered.
    pub(super) fn answer<T: DeserializeOwned>(self, body: &[u8]) -> serde_json::Result<T> {
        match self {
            Dialect::Camel => serde_json::from_slice(body),
            Dialect::Snake => snake::answer(body),
        }
    }

    /// What an error message means.
    pub(super) fn refusal(self, status: u16, message: &str) -> Refusal {
        match self {
            Dialect::Camel => Refusal::of(status, message),
            Dialect::Snake => snake::refusal(status, message),
        }
    }
}

/// Answer to sign-up and login.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entered {
    #[serde(default)]
    pub(super) address: String,
    pub(super) mnemonic: Option<Secret>,
    pub(super) access_token: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) user_name: String,
    pub(super) address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pods {
    // The older dialect has a list under the name of a pod's name.
    #[serde(default, alias = "podName", deserialize_with = "none_as_empty")]
    pub(super) pods: Vec<String>,
    #[serde(default, alias = "sharedPodName", deserialize_with = "none_as_empty")]
    pub(super) shared_pods: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct PodStat {
    pub(super) address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shared {
    pub(super) pod_sharing_reference: String,
}

/// What is shared. The pod's password in it is not taken over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiveInfo {
    pub(super) pod_name: String,
    pub(super) pod_address: String,
    pub(super) user_address: String,
}

#[derive(Deserialize)]
pub(super) struct Listing {
    #[serde(default, deserialize_with = "none_as_empty")]
    pub(super) dirs: Vec<Named>,
    #[serde(default, deserialize_with = "none_as_empty")]
    pub(super) files: Vec<Sized>,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Sized {
    pub(super) name: String,
    #[serde(deserialize_with = "number")]
    pub(super) size: u64,
}

/// How much a directory has, listed or not.
#[derive(Deserialize)]
pub(super) struct Counts {
    #[serde(rename = "noOfDirectories", deserialize_with = "number")]
    pub(super) directories: u64,
    #[serde(rename = "noOfFiles", deserialize_with = "number")]
    pub(super) files: u64,
}

#[derive(Deserialize)]
pub(super) struct Uploaded {
    #[serde(rename = "Responses", alias = "responses")]
    pub(super) responses: Vec<UploadedFile>,
}

#[derive(Deserialize)]
pub(super) struct UploadedFile {
    pub(super) message: String,
}

impl Uploaded {
    /// What the server says went wrong in spite of a good status.
    pub(super) fn fault(&self) -> Option<Untrusted> {
        // The second as releases of 2021 wrote it.
        const DONE: [&str; 2] = ["uploaded successfully", "uploaded succesfully"];
        match self.responses.as_slice() {
            [file] if DONE.contains(&&*file.message) => None,
            [] => Some(Untrusted::new("nothing was uploaded")),
            files => files
                .iter()
                .map(|file| &file.message)
                .find(|message| !DONE.contains(&message.as_str()))
                .map(|message| Untrusted::new(message.as_str()))
                .or_else(|| Some(Untrusted::new("several files were uploaded"))),
        }
    }
}

/// Any answer that says something.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) message: String,
}

/// For answers that matter by their status only.
#[derive(Deserialize)]
pub(super) struct Done {}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody is logged in, or not any more. Nothing was done.
    NotLoggedIn,
    NoSuchUser,
    WrongPassword,
    UserExists,
    UnfitPassword,
    NoSuchPod,
    PodExists,
    TooManyPods,
    NoSuchDirectory,
    NoSuchFile,
    Exists,
    ReadOnly,
    /// No pod was ever shared under the reference.
    NeverShared,
    /// The pod was deleted.
    Deleted,
    /// Not there, or not found in time: a feed without an answer.
    Missing,
    /// The server has no such call. Nothing was done.
    NoSuchCall,
    /// The server looked for a name of the older dialect. Nothing was done.
    OlderDialect,
    /// The pod must be opened first. Nothing was done.
    PodNotOpen,
    PodOpen,
    /// The login does not do without the password. Nothing was done.
    PasswordNeeded,
    Unknown,
}

impl Refusal {
    pub(super) fn of(status: u16, message: &str) -> Refusal {
        // In the order of trust: the status of a missing login is reliable.
        if status == 401 {
            return Refusal::NotLoggedIn;
        }
        let reason = message.rsplit(": ").next().unwrap_or(message).trim();
        match reason {
            "user not logged-in" | "user not logged in" => Refusal::NotLoggedIn,
            "no user available" => Refusal::NoSuchUser,
            "invalid password" => Refusal::WrongPassword,
            "user name already present" => Refusal::UserExists,
            "password should be at least 12 characters long" => Refusal::UnfitPassword,
            "pod does not exist" => Refusal::NoSuchPod,
            "pod already exists" | "pod with fork name already exists" => Refusal::PodExists,
            "max number of pods reached" => Refusal::TooManyPods,
            "directory not present" => Refusal::NoSuchDirectory,
            "file not found in dfs" | "file not present" => Refusal::NoSuchFile,
            "directory name already present" | "file already exist with new name" => {
                Refusal::Exists
            }
            "read only feed" | "read only pod" => Refusal::ReadOnly,
            "deleted feed" => Refusal::Deleted,
            "Not Found" => Refusal::NeverShared,
            "feed does not exist or was not updated yet" => Refusal::Missing,
            r#""user_name" argument missing"# | r#""user" argument missing"# => {
                Refusal::OlderDialect
            }
            _ if message.contains("joiner failed") => Refusal::NeverShared,
            // Other content than a record of a share.
            _ if reason.starts_with("invalid character ")
                || reason.starts_with("cannot unmarshal ") =>
            {
                Refusal::NeverShared
            }
            _ => Refusal::Unknown,
        }
    }
}

/// `null` for an empty list, as Go writes it.
pub(super) fn none_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Numbers come as strings in listings.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statuses and messages as the server was seen to send them.
    #[test]
    fn messages_mean_what_the_server_means_by_them() {
        for (status, message, expected) in [
            (401, "jwt: invalid token", Refusal::NotLoggedIn),
            (400, "ls pod: user not logged-in", Refusal::NotLoggedIn),
            (404, "pod open: user not logged-in", Refusal::NotLoggedIn),
            (404, "user login: no user available", Refusal::NoSuchUser),
            (400, "user login: invalid password", Refusal::WrongPassword),
            (500, "ls: pod does not exist", Refusal::NoSuchPod),
            (400, "pod new: pod already exists", Refusal::PodExists),
            (404, "ls: directory not present", Refusal::NoSuchDirectory),
            (404, "download: file not found in dfs", Refusal::NoSuchFile),
            (500, "mkdir: read only feed", Refusal::ReadOnly),
            (500, "pod receive info: Not Found", Refusal::NeverShared),
            (
                500,
                "public pod file download: deleted feed",
                Refusal::Deleted,
            ),
            (
                500,
                "public pod file download: list dir : feed does not exist or was not updated yet",
                Refusal::Missing,
            ),
            (500, "file upload: batch is overissued", Refusal::Unknown),
            (
                400,
                r#"user login: "user_name" argument missing"#,
                Refusal::OlderDialect,
            ),
            (
                400,
                r#"user signup: "user" argument missing"#,
                Refusal::OlderDialect,
            ),
            (500, "", Refusal::Unknown),
        ] {
            assert_eq!(Refusal::of(status, message), expected, "{message}");
        }
    }

    #[test]
    fn lists_may_be_missing_and_numbers_may_be_strings() {
        let empty: Listing = serde_json::from_str("{}").unwrap();
        assert!(empty.dirs.is_empty() && empty.files.is_empty());
        let null: Pods = serde_json::from_str(r#"{"pods":null,"sharedPods":[]}"#).unwrap();
        assert!(null.pods.is_empty() && null.shared_pods.is_empty());
        let files: Listing = serde_json::from_str(
            r#"{"files":[{"name":"a","size":"13","mode":33152},{"name":"b","size":7}]}"#,
        )
        .unwrap();
        assert_eq!((files.files[0].size, files.files[1].size), (13, 7));
        assert!(
            serde_json::from_str::<Listing>(r#"{"files":[{"name":"a","size":"-1"}]}"#).is_err()
        );
    }

    #[test]
    fn a_failure_inside_a_good_answer_is_a_failure() {
        let of = |json: &str| serde_json::from_str::<Uploaded>(json).unwrap().fault();
        assert!(
            of(r#"{"Responses":[{"fileName":"a","message":"uploaded successfully"}]}"#).is_none()
        );
        let fault = of(r#"{"Responses":[{"fileName":"a","message":"error uploading data"}]}"#);
        assert_eq!(fault.unwrap().raw(), "error uploading data");
        assert!(of(r#"{"Responses":[]}"#).is_some());
    }
}
