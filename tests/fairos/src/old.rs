//! A stand-in for FairOS-dfs v0.8, the server that the original Sovr's users run.
//!
//! It is *not* the real one: the module proxy does not serve that version, so there is nothing to build it from. It
//! was written after the handlers of v0.8.2's release candidates as they were read, and after what a real v0.8.2-rc9
//! was once seen to answer; a test on it shows that the client and this idea of the server agree, and no more. What is
//! imitated, because a client can stumble over it:
//!
//! - names such as `pod_name`, the cookie, the password with each pod, 400 for a missing login, no public calls;
//! - a pod is opened before use, lists from that session's memory, and a change writes that memory over the pod;
//! - an upload under a name that is taken keeps the old file as `<unix>_<name>`; there is no renaming and no forking;
//! - sharing gives another reference each time, with 128 digits; a received pod has its owner's name; a new pod takes the lowest key
//!   that is free, so it can have that of a deleted one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sovr_dfs::swarm::reference_of;

use crate::http::{Listener, Request, Response};

const COOKIE: &str = "fairOS-dfs";
const JSON: &str = "application/json; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const MNEMONIC: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

/// A server in the older dialect on a free port, which ends when it is dropped.
pub struct OldServer {
    listener: Listener,
    state: Arc<Mutex<State>>,
    url: String,
}

#[derive(Default)]
struct State {
    /// Whether users of a name registry log in at `v2/user/login`, as from v0.8.2's first candidates on.
    registry: bool,
    users: HashMap<String, User>,
    sessions: HashMap<String, Session>,
    /// Records of shared pods by their references.
    shares: HashMap<String, Value>,
    /// What is in pods, by their addresses.
    pods: HashMap<String, Tree>,
    numbers: u64,
    calls: Vec<String>,
}

struct User {
    password: String,
    registered: bool,
    /// By the number of their key.
    pods: BTreeMap<u32, String>,
    /// Names and addresses.
    shared: Vec<(String, String)>,
}

struct Session {
    user: String,
    open: HashMap<String, Open>,
}

/// A pod in the memory of a session.
struct Open {
    address: String,
    own: bool,
    tree: Option<Tree>,
}

#[derive(Clone, Default)]
struct Tree {
    directories: BTreeSet<String>,
    files: BTreeMap<String, Arc<Vec<u8>>>,
}

/// A refusal: a status and a message.
struct No(u16, String);

fn no<T>(status: u16, message: impl Into<String>) -> Result<T, No> {
    Err(No(status, message.into()))
}

impl OldServer {
    /// Starts one that knows nobody.
    ///
    /// # Panics
    ///
    /// Where nothing can listen.
    pub fn start() -> OldServer {
        OldServer::with(State::default())
    }

    /// One of the last candidates, which also has users of a name registry. They sign up and log in at `v2`.
    ///
    /// # Panics
    ///
    /// Where nothing can listen.
    pub fn with_registry() -> OldServer {
        OldServer::with(State {
            registry: true,
            ..State::default()
        })
    }

    fn with(state: State) -> OldServer {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let listener = Listener::start(move |request| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.answer(&request)
        })
        .expect("the loopback interface has a free port");
        OldServer {
            url: format!("http://{}", listener.address()),
            listener,
            state,
        }
    }

    /// Its address without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a user of the name registry, whom `v1/user/login` does not know.
    pub fn register(&self, name: &str, password: &str) {
        self.lock().users.insert(
            name.to_owned(),
            User {
                password: password.to_owned(),
                registered: true,
                pods: BTreeMap::new(),
                shared: Vec::new(),
            },
        );
    }

    /// Forgets all logins, as a restart does.
    pub fn forget_logins(&self) {
        self.lock().sessions.clear();
    }

    /// The methods and paths of the calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for OldServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OldServer({})", self.listener.address())
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        self.calls
            .push(format!("{} {}", request.method, request.path));
        let answered = match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => return body(200, PLAIN, b"FairOS-dfs\n".to_vec()),
            ("GET", "/version") => return body(200, PLAIN, b"v0.8.2-rc9\n".to_vec()),
            ("POST", "/v1/user/signup") => self.sign_up(request),
            ("POST", "/v1/user/login") => self.log_in(request, false),
            ("POST", "/v2/user/login") if self.registry => self.log_in(request, true),
            (method, path) => match self.logged_in(request) {
                _ if !ROUTES.contains(&(method, path)) => {
                    return body(404, PLAIN, b"404 page not found\n".to_vec());
                }
                Err(refusal) => Err(refusal),
                Ok(session) => self.act(request, path, &session),
            },
        };
        match answered {
            Ok(response) => response,
            Err(No(status, message)) => message_of(status, &message),
        }
    }

    fn sign_up(&mut self, request: &Request) -> Result<Response, No> {
        let fields = fields(request)?;
        let (name, password) = (text(&fields, "user_name"), text(&fields, "password"));
        if name.is_empty() {
            return no(400, r#"user signup: "user" argument missing"#);
        }
        if self.users.contains_key(&name) {
            return no(400, "user signup: user name already present");
        }
        let address = address_of(&name);
        let own = fields.get("mnemonic").is_some();
        let user = User {
            password,
            registered: false,
            pods: BTreeMap::new(),
            shared: Vec::new(),
        };
        self.users.insert(name.clone(), user);
        let mut answer = json!({ "address": address });
        if !own {
            answer["mnemonic"] = json!(MNEMONIC);
        }
        Ok(self.enter(&name, 201, &answer))
    }

    fn log_in(&mut self, request: &Request, registered: bool) -> Result<Response, No> {
        let fields = fields(request)?;
        let name = text(&fields, "user_name");
        if name.is_empty() {
            return no(400, r#"user login: "user_name" argument missing"#);
        }
        match self.users.get(&name) {
            Some(user) if user.registered == registered => {
                if user.password != text(&fields, "password") {
                    return no(400, "user login: invalid password");
                }
            }
            _ => return no(400, "user login: invalid user name"),
        }
        let answer = json!({ "message": "user logged-in successfully", "code": 200 });
        Ok(self.enter(&name, 200, &answer))
    }

    fn enter(&mut self, name: &str, status: u16, answer: &Value) -> Response {
        let session = format!("{}=", self.number());
        self.sessions.insert(
            session.clone(),
            Session {
                user: name.to_owned(),
                open: HashMap::new(),
            },
        );
        let mut response = body(status, JSON, answer.to_string().into_bytes());
        response.set_cookie = Some(format!(
            "{COOKIE}={session}; Path=/; Domain=api.fairos.io; HttpOnly; Secure; SameSite=None"
        ));
        response
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn logged_in(&self, request: &Request) -> Result<String, No> {
        let cookie = request.header("cookie").unwrap_or_default();
        let Some(session) = cookie
            .strip_prefix(COOKIE)
            .and_then(|c| c.strip_prefix('='))
        else {
            return no(
                400,
                "cookie: invalid cookie: http: named cookie not present",
            );
        };
        if !self.sessions.contains_key(session) {
            return no(
                400,
                "cookie: invalid cookie: securecookie: the value is not valid",
            );
        }
        Ok(session.to_owned())
    }

    fn act(&mut self, request: &Request, path: &str, session: &str) -> Result<Response, No> {
        let fields = fields(request)?;
        let of = |name: &str| text(&fields, name);
        let (pod, what) = (of("pod_name"), path.rsplit('/').next().unwrap_or_default());
        let Some(user) = self.sessions.get(session).map(|s| s.user.clone()) else {
            return no(400, format!("{what}: user not logged in"));
        };
        let needs = |name: &str| match text(&fields, name).is_empty() {
            true => no(400, format!("{what}: \"{name}\" argument missing")),
            false => Ok(()),
        };
        match path {
            "/v1/user/logout" => {
                self.sessions.remove(session);
                Ok(message_of(200, "user logged out successfully"))
            }
            "/v1/user/stat" => Ok(answer(
                &json!({ "user_name": user, "address": address_of(&user) }),
            )),
            "/v1/pod/ls" => {
                let user = self.user(&user)?;
                let own: Vec<_> = user.pods.values().collect();
                let shared: Vec<_> = user.shared.iter().map(|(name, _)| name).collect();
                Ok(answer(
                    &json!({ "pod_name": own, "shared_pod_name": shared }),
                ))
            }
            "/v1/pod/new" => {
                needs("pod_name")?;
                needs("password")?;
                self.new_pod(&user, session, &pod)
            }
            "/v1/pod/open" => self.open_pod(&user, session, &pod, &of("password")),
            "/v1/pod/close" => match self.session(session)?.open.remove(&pod) {
                Some(_) => Ok(message_of(200, "pod closed successfully")),
                None => no(400, "pod close: pod not open"),
            },
            "/v1/pod/delete" => self.delete_pod(&user, session, &pod),
            "/v1/pod/stat" => match self.session(session)?.open.get(&pod) {
                Some(open) => Ok(answer(&json!({ "pod_name": pod, "address": open.address }))),
                None => no(500, format!("pod stat: could not find pod: {pod}")),
            },
            "/v1/pod/share" => {
                needs("password")?;
                self.share(&user, &pod)
            }
            "/v1/pod/receiveinfo" => match self.shares.get(&of("sharing_ref")) {
                Some(record) => Ok(answer(record)),
                None => no(500, "pod receive info: error downloading data"),
            },
            "/v1/pod/receive" => self.receive(&user, &of("sharing_ref")),
            "/v1/dir/ls" => list(self.tree(session, &pod, "ls")?, &of("dir_path")),
            "/v1/dir/mkdir" => self.change(session, &pod, "mkdir", |tree| {
                make_directory(tree, &of("dir_path"))
            }),
            "/v1/dir/rmdir" => self.change(session, &pod, "rmdir", |tree| {
                remove_directory(tree, &of("dir_path"))
            }),
            "/v1/file/delete" => self.change(session, &pod, "file delete", |tree| {
                match tree.files.remove(&of("file_path")) {
                    Some(_) => Ok(message_of(200, "file deleted successfully")),
                    None => no(404, "file delete: invalid file name"),
                }
            }),
            "/v1/file/download" => {
                let tree = self.tree(session, &pod, "download")?;
                match tree.and_then(|tree| tree.files.get(&of("file_path"))) {
                    Some(content) => Ok(body(200, "application/octet-stream", content.to_vec())),
                    None => no(404, "download: file not found in dfs"),
                }
            }
            "/v1/file/upload" => {
                needs("pod_name")?;
                needs("dir_path")?;
                needs("block_size")?;
                let Some((name, content)) = file_of(request) else {
                    return no(400, "file upload: parameter \"files\" missing");
                };
                let directory = of("dir_path");
                let done = self.change(session, &pod, "file upload", |tree| {
                    upload(tree, &directory, &name, content)
                });
                match done {
                    // As the real one does: the failure is inside.
                    Err(No(500, message)) => Ok(uploaded(&name, &message)),
                    done => done,
                }
            }
            _ => no(404, "no such call"),
        }
    }

    fn user(&mut self, name: &str) -> Result<&mut User, No> {
        let user = self.users.get_mut(name);
        user.ok_or_else(|| No(500, "invalid user name".to_owned()))
    }

    fn session(&mut self, session: &str) -> Result<&mut Session, No> {
        let session = self.sessions.get_mut(session);
        session.ok_or_else(|| No(400, "user not logged in".to_owned()))
    }

    /// The number of an own pod's key.
    fn index(&self, user: &str, pod: &str) -> Option<u32> {
        let pods = &self.users.get(user)?.pods;
        pods.iter()
            .find_map(|(index, name)| (name == pod).then_some(*index))
    }

    fn new_pod(&mut self, name: &str, session: &str, pod: &str) -> Result<Response, No> {
        let user = self.user(name)?;
        if user.pods.values().any(|own| own == pod) || user.shared.iter().any(|(n, _)| n == pod) {
            return no(400, "pod new: pod already exists");
        }
        let index = (1..)
            .find(|index| !user.pods.contains_key(index))
            .unwrap_or(1);
        user.pods.insert(index, pod.to_owned());
        let address = pod_address(name, index);
        self.pods.insert(address.clone(), Tree::default());
        let open = Open {
            address,
            own: true,
            tree: Some(Tree::default()),
        };
        self.session(session)?.open.insert(pod.to_owned(), open);
        Ok(message_of(201, "pod created successfully"))
    }

    fn open_pod(
        &mut self,
        name: &str,
        session: &str,
        pod: &str,
        password: &str,
    ) -> Result<Response, No> {
        if self.session(session)?.open.contains_key(pod) {
            return no(500, "pod open: pod already open");
        }
        let (address, own) = match self.index(name, pod) {
            Some(index) => (pod_address(name, index), true),
            None => match self
                .user(name)?
                .shared
                .iter()
                .find(|(known, _)| known == pod)
            {
                Some((_, address)) => (address.clone(), false),
                None => return no(400, "pod open: invalid pod name"),
            },
        };
        if own && self.user(name)?.password != password {
            return no(500, "pod open: invalid password");
        }
        let tree = self.pods.get(&address).cloned();
        let open = Open { address, own, tree };
        self.session(session)?.open.insert(pod.to_owned(), open);
        Ok(message_of(200, "pod opened successfully"))
    }

    fn delete_pod(&mut self, name: &str, session: &str, pod: &str) -> Result<Response, No> {
        let Some(open) = self.session(session)?.open.remove(pod) else {
            return no(500, format!("delete pod: could not find pod: {pod}"));
        };
        if open.own {
            self.pods.remove(&open.address);
            self.user(name)?.pods.retain(|_, own| own != pod);
        } else {
            self.user(name)?.shared.retain(|(known, _)| known != pod);
        }
        Ok(message_of(200, "pod deleted successfully"))
    }

    fn share(&mut self, name: &str, pod: &str) -> Result<Response, No> {
        let Some(index) = self.index(name, pod) else {
            return no(400, "pod share: invalid pod name");
        };
        let record = json!({
            "pod_name": pod,
            "pod_address": format!("0x{}", pod_address(name, index)),
            "user_name": name,
            "user_address": address_of(name),
            "shared_time": format!("time {}", self.number()),
        });
        let mut reference = reference_of(record.to_string().as_bytes()).to_string();
        if !self.registry {
            // The key of what a real node encrypts; the makers' own fake one does not.
            reference += &reference_of(reference.as_bytes()).to_string();
        }
        self.shares.insert(reference.clone(), record);
        Ok(answer(&json!({ "pod_sharing_reference": reference })))
    }

    fn receive(&mut self, name: &str, reference: &str) -> Result<Response, No> {
        let Some(record) = self.shares.get(reference).cloned() else {
            return no(500, "pod receive: error downloading data");
        };
        let (pod, address) = (text(&record, "pod_name"), text(&record, "pod_address"));
        let user = self.user(name)?;
        if user.pods.values().any(|own| *own == pod) || user.shared.iter().any(|(n, _)| *n == pod) {
            return no(500, "pod receive: pod already exists");
        }
        let address = address.trim_start_matches("0x").to_owned();
        user.shared.push((pod.clone(), address));
        Ok(message_of(
            200,
            &format!("public pod \"{pod}\", added as shared pod"),
        ))
    }

    /// What a session has in mind of a pod; none of one that was deleted.
    fn tree(&mut self, session: &str, pod: &str, what: &str) -> Result<Option<&Tree>, No> {
        match self.session(session)?.open.get(pod) {
            Some(open) => Ok(open.tree.as_ref()),
            None => no(400, format!("{what}: pod not open")),
        }
    }

    fn change(
        &mut self,
        session: &str,
        pod: &str,
        what: &str,
        change: impl FnOnce(&mut Tree) -> Result<Response, No>,
    ) -> Result<Response, No> {
        let Some(open) = self.session(session)?.open.get_mut(pod) else {
            return no(400, format!("{what}: pod not open"));
        };
        if !open.own {
            return no(
                500,
                format!("{what}: operation not permitted: read only pod"),
            );
        }
        let Some(tree) = &mut open.tree else {
            return no(500, format!("{what}: directory not present"));
        };
        let done = change(tree)?;
        let (address, tree) = (open.address.clone(), tree.clone());
        self.pods.insert(address, tree);
        Ok(done)
    }
}

const ROUTES: [(&str, &str); 19] = [
    ("POST", "/v1/user/logout"),
    ("GET", "/v1/user/stat"),
    ("GET", "/v1/pod/ls"),
    ("POST", "/v1/pod/new"),
    ("POST", "/v1/pod/open"),
    ("POST", "/v1/pod/close"),
    ("DELETE", "/v1/pod/delete"),
    ("GET", "/v1/pod/stat"),
    ("POST", "/v1/pod/share"),
    ("GET", "/v1/pod/receiveinfo"),
    ("GET", "/v1/pod/receive"),
    ("GET", "/v1/dir/ls"),
    ("POST", "/v1/dir/mkdir"),
    ("DELETE", "/v1/dir/rmdir"),
    ("DELETE", "/v1/file/delete"),
    ("GET", "/v1/file/download"),
    ("POST", "/v1/file/download"),
    ("POST", "/v1/file/upload"),
    ("GET", "/v1/file/stat"),
];

fn list(tree: Option<&Tree>, path: &str) -> Result<Response, No> {
    let Some(tree) = tree.filter(|tree| path == "/" || tree.directories.contains(path)) else {
        return no(404, "ls: directory not present");
    };
    let inside = |one: &str| {
        let (parent, name) = one.rsplit_once('/')?;
        let parent = if parent.is_empty() { "/" } else { parent };
        (parent == path).then(|| name.to_owned())
    };
    let directories: Vec<_> = tree
        .directories
        .iter()
        .filter_map(|one| Some(json!({ "name": inside(one)?, "content_type": "inode/directory" })))
        .collect();
    let files: Vec<_> = tree
        .files
        .iter()
        .filter_map(|(one, content)| {
            Some(json!({ "name": inside(one)?, "content_type": "", "size": content.len().to_string() }))
        })
        .collect();
    let mut listing = json!({});
    if !directories.is_empty() {
        listing["dirs"] = json!(directories);
    }
    if !files.is_empty() {
        listing["files"] = json!(files);
    }
    Ok(answer(&listing))
}

fn parent_is_there(tree: &Tree, path: &str) -> bool {
    match path.rsplit_once('/') {
        Some(("", _)) => true,
        Some((parent, _)) => tree.directories.contains(parent),
        None => false,
    }
}

fn make_directory(tree: &mut Tree, path: &str) -> Result<Response, No> {
    if !parent_is_there(tree, path) {
        return no(500, "mkdir: directory not present");
    }
    if !tree.directories.insert(path.to_owned()) {
        return no(500, "mkdir: directory name already present");
    }
    Ok(message_of(201, "directory created successfully"))
}

fn remove_directory(tree: &mut Tree, path: &str) -> Result<Response, No> {
    if !tree.directories.remove(path) {
        return no(500, "rmdir: directory not present");
    }
    let inside = format!("{path}/");
    tree.directories.retain(|one| !one.starts_with(&inside));
    tree.files.retain(|one, _| !one.starts_with(&inside));
    Ok(message_of(200, "directory removed successfully"))
}

fn upload(tree: &mut Tree, directory: &str, name: &str, content: Vec<u8>) -> Result<Response, No> {
    let base = directory.trim_end_matches('/');
    let path = format!("{base}/{name}");
    if !parent_is_there(tree, &path) {
        return no(500, "directory not present");
    }
    if let Some(old) = tree.files.remove(&path) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let second = now.map_or(0, |now| now.as_secs());
        tree.files.insert(format!("{base}/{second}_{name}"), old);
    }
    tree.files.insert(path, Arc::new(content));
    Ok(uploaded(name, "uploaded successfully"))
}

fn uploaded(name: &str, message: &str) -> Response {
    answer(&json!({ "Responses": [{ "file_name": name, "message": message }] }))
}

fn address_of(user: &str) -> String {
    format!("0x{}", digits(&reference_of(user.as_bytes()).to_string()))
}

/// As many as an address has.
fn digits(hash: &str) -> String {
    hash.chars().take(40).collect()
}

fn pod_address(user: &str, index: u32) -> String {
    let key = reference_of(format!("{user}/{index}").as_bytes());
    digits(&key.to_string())
}

fn body(status: u16, content_type: &'static str, body: Vec<u8>) -> Response {
    Response {
        status,
        content_type,
        body,
        cut: None,
        set_cookie: None,
    }
}

fn answer(value: &Value) -> Response {
    body(200, JSON, value.to_string().into_bytes())
}

fn message_of(status: u16, message: &str) -> Response {
    let value = json!({ "message": message, "code": status });
    body(status, JSON, value.to_string().into_bytes())
}

fn text(fields: &Value, name: &str) -> String {
    fields[name].as_str().unwrap_or_default().to_owned()
}

/// What a request says: in its address, as JSON, or in a form.
fn fields(request: &Request) -> Result<Value, No> {
    let mut fields = json!({});
    for (name, value) in request
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
    {
        fields[decoded(name)] = json!(decoded(value));
    }
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type.starts_with("multipart/form-data") {
        for part in parts(request) {
            if part.file.is_none() {
                fields[part.name] = json!(String::from_utf8_lossy(part.content));
            }
        }
    } else if !request.body.is_empty() {
        if content_type != "application/json" {
            return no(400, "invalid request body type");
        }
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(object)) => {
                for (name, value) in object {
                    fields[name] = value;
                }
            }
            _ => return no(400, "could not decode arguments"),
        }
    }
    Ok(fields)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| hex::decode(digits).ok());
        match (byte, first) {
            (Some(byte), _) => {
                bytes.extend(byte);
                rest = &after[2..];
                continue;
            }
            (None, b'+') => bytes.push(b' '),
            (None, other) => bytes.push(*other),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Part<'a> {
    name: String,
    file: Option<String>,
    content: &'a [u8],
}

fn file_of(request: &Request) -> Option<(String, Vec<u8>)> {
    let part = parts(request)
        .into_iter()
        .find(|part| part.name == "files")?;
    Some((part.file?, part.content.to_vec()))
}

/// The parts of a form.
fn parts(request: &Request) -> Vec<Part<'_>> {
    let content_type = request.header("content-type").unwrap_or_default();
    let Some((_, boundary)) = content_type.split_once("boundary=") else {
        return Vec::new();
    };
    let mark = format!("--{}", boundary.trim_matches('"'));
    let mut parts = Vec::new();
    let mut rest = &request.body[..];
    while let Some(begin) = find(rest, mark.as_bytes()) {
        let after = &rest[begin + mark.len()..];
        let Some(end) = find(after, format!("\r\n{mark}").as_bytes()) else {
            break;
        };
        let part = &after[..end];
        rest = &after[end + 2..];
        let Some(head) = find(part, b"\r\n\r\n") else {
            continue;
        };
        let heading = String::from_utf8_lossy(&part[..head]).into_owned();
        let quoted = |key: &str| {
            let (_, value) = heading.split_once(&format!("{key}=\""))?;
            value.split('"').next().map(str::to_owned)
        };
        parts.push(Part {
            name: quoted("; name").unwrap_or_default(),
            file: quoted("filename"),
            content: &part[head + 4..],
        });
    }
    parts
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    // The first byte alone is looked for fast.
    let mut at = 0;
    while let Some(next) = within[at..].iter().position(|byte| *byte == what[0]) {
        if within[at + next..].starts_with(what) {
            return Some(at + next);
        }
        at += next + 1;
    }
    None
}
