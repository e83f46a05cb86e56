//! Servers as tests use them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sovr_test_support::http;
use sovr_test_support::process::{self, Launch, Process};
use tempfile::TempDir;

use crate::bee::{FakeBee, Names};
use crate::program::{self, CURRENT, OLD, Program};

/// `dfs dev` has it in its source and no option for another.
const DEV: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// Machine-wide, as the port is.
const DEV_LOCK: &str = "sovr-test-fairos-9090.lock";
/// How long other test programs may have the port.
const DEV_WAIT: Duration = Duration::from_secs(1200);
/// How long a killed server may still have it.
const PORT_WAIT: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_millis(50);
/// What the older server has in its configuration and no options for: its name registry, which is asked for users that
/// its directory does not have. The addresses are those of its contracts, and none is used.
const OLD_CONFIG: &str = "\
ens:
  provider-domain: fds
  public-resolver-address: \"0x0000000000000000000000000000000000000001\"
  subdomain-registrar-address: \"0x0000000000000000000000000000000000000002\"
  ens-registry-address: \"0x0000000000000000000000000000000000000003\"
";
const CONFIG: &str = "dfs.yaml";
/// How `dfs dev` says where its Swarm node is.
const BEE_AT: &str = "Bee running at:";

/// The server of this process's tests while one of them has it.
static SHARED: Mutex<Weak<Dev>> = Mutex::new(Weak::new());

/// A running FairOS-dfs server. If the test that drops it is failing, the end of its log is printed.
pub struct Server {
    kind: Kind,
    url: String,
    bee: String,
}

enum Kind {
    Dev(Arc<Dev>),
    Own {
        process: Box<Mutex<Process>>,
        address: SocketAddr,
        start: Start,
        signs_up: SignsUp,
    },
}

/// How a server is started.
struct Start {
    program: &'static Program,
    arguments: Vec<String>,
    /// What its configuration holds; with nothing it makes its own.
    config: String,
}

/// Where a server has its users.
enum SignsUp {
    /// On a chain that gives them names beforehand.
    OnChain(Names),
    /// In a directory, which outlives the process.
    InDirectory { _users: TempDir },
}

struct Dev {
    // Before the lock, which others wait for.
    process: Process,
    bee: String,
    _lock: File,
}

impl Server {
    /// The server in development mode: sign-up by name and password, storage in memory.
    ///
    /// Its port is fixed, so all tests of a process share one server, and test programs take turns. Tests stay out of
    /// each other's way by users of their own. When nobody has it any more, it ends and what it stored is gone.
    ///
    /// # Panics
    ///
    /// Where the server is not built, or something else has port 9090.
    pub fn dev() -> Server {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let dev = shared.upgrade().unwrap_or_else(|| {
            let dev = Arc::new(Dev::start());
            *shared = Arc::downgrade(&dev);
            dev
        });
        Server {
            url: format!("http://{DEV}"),
            bee: dev.bee.clone(),
            kind: Kind::Dev(dev),
        }
    }

    /// The server as it is released, on a node of ours and on a free port.
    ///
    /// New users come by [`Server::sign_up`], or by `POST /v2/user/login-with-signature` with any 32 bytes or more in
    /// hexadecimal as the signature. Users, like all that it stored, are in `bee` and survive a restart.
    ///
    /// # Panics
    ///
    /// Where the server is not built or does not start.
    pub fn real(bee: &FakeBee) -> Server {
        let address = free_port();
        let more = [
            "--ens-network",
            "play",
            "--rpc",
            bee.chain_url(),
            "--cookieDomain",
            "localhost",
        ];
        let start = Start {
            program: &CURRENT,
            arguments: arguments(bee, address, &more),
            config: String::new(),
        };
        Server::own_at(address, bee, start, SignsUp::OnChain(bee.names()))
    }

    /// The server that users of the original Sovr have, v0.8.1, which speaks the older dialect, on a node of ours and
    /// on a free port.
    ///
    /// New users come by [`Server::sign_up`]. What it stored is in `bee`, and who its users are in a directory; both
    /// survive a restart.
    ///
    /// # Panics
    ///
    /// Where the server is not built or does not start.
    pub fn old(bee: &FakeBee) -> Server {
        let address = free_port();
        let users = tempfile::Builder::new()
            .prefix("users-")
            .tempdir_in(program::target())
            .expect("servers lie in a directory that takes another");
        let directory = users.path().to_string_lossy();
        // Any free port; its default is one for all.
        let more = ["--dataDir", &directory, "--pprofPort", ":0"];
        let chain = bee.chain_url();
        let start = Start {
            program: &OLD,
            arguments: arguments(bee, address, &more),
            config: format!("{OLD_CONFIG}  ens-provider-backend: {chain}\n"),
        };
        Server::own_at(address, bee, start, SignsUp::InDirectory { _users: users })
    }

    fn own_at(address: SocketAddr, bee: &FakeBee, start: Start, signs_up: SignsUp) -> Server {
        Server {
            url: format!("http://{address}"),
            bee: bee.url().to_owned(),
            kind: Kind::Own {
                process: Box::new(Mutex::new(started(&start, address))),
                address,
                start,
                signs_up,
            },
        }
    }

    /// Its address without a path: `http://127.0.0.1:9090`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of the Swarm node beneath it, without a path.
    pub fn bee_url(&self) -> &str {
        &self.bee
    }

    /// Makes a user, who can log in with name and password from then on. In development mode that is the server's own
    /// sign-up and nothing else; so it is on the older server; on a [`FakeBee`] the chain gives the user of a newer one
    /// the name beforehand.
    ///
    /// # Panics
    ///
    /// When the server refuses: a password has at least twelve letters, a name small letters and digits. When the
    /// chain of a [`FakeBee`] has no account left, of six.
    pub fn sign_up(&self, name: &str, password: &str) {
        let (mut path, mut user) = (
            "/v2/user/signup",
            json!({ "userName": name, "password": password }),
        );
        match &self.kind {
            Kind::Own {
                signs_up: SignsUp::OnChain(names),
                ..
            } => user["mnemonic"] = json!(names.give(name)),
            Kind::Own {
                signs_up: SignsUp::InDirectory { .. },
                ..
            } => {
                path = "/v1/user/signup";
                user = json!({ "user_name": name, "password": password });
            }
            Kind::Dev(_) => {}
        }
        let answer = http::post(self.address(), path, &user.to_string());
        if let Err(error) = answer {
            panic!("cannot sign up {name} on {}: {error}", self.url);
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.with(Process::log)
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    ///
    /// On a server in development mode, which other tests use.
    pub fn kill(&self) {
        self.own().kill();
    }

    /// Kills it if it runs and starts it again at the same address. All logins are void then: it makes new keys.
    ///
    /// # Panics
    ///
    /// On a server in development mode, which other tests use; where it does not start.
    pub fn restart(&self) {
        let mut process = self.own();
        process.kill();
        let Kind::Own { address, start, .. } = &self.kind else {
            unreachable!("only a server of one's own gets here")
        };
        *process = started(start, *address);
    }

    fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::Dev(_) => DEV,
            Kind::Own { address, .. } => *address,
        }
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Process> {
        match &self.kind {
            Kind::Own { process, .. } => process.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::Dev(_) => panic!("the server in development mode belongs to other tests, too"),
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&Process) -> T) -> T {
        match &self.kind {
            Kind::Dev(dev) => use_it(&dev.process),
            Kind::Own { .. } => use_it(&self.own()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.with(Process::end_of_log));
        }
    }
}

impl Dev {
    fn start() -> Dev {
        let lock = lock();
        // It would run on without a word if another had the port, and tests would talk to the other.
        wait_for_port();
        let start = Start {
            program: &CURRENT,
            arguments: vec!["dev".to_owned()],
            config: String::new(),
        };
        let process = started(&start, DEV);
        let log = process.log();
        let bee = log.lines().find_map(|line| line.strip_prefix(BEE_AT));
        let Some(bee) = bee.map(|bee| bee.trim().to_owned()) else {
            panic!("the server does not say where its Swarm node is:\n{log}")
        };
        Dev {
            process,
            bee,
            _lock: lock,
        }
    }
}

/// What every release wants that runs on a node of ours, and what only one does.
fn arguments(bee: &FakeBee, address: SocketAddr, more: &[&str]) -> Vec<String> {
    let address = address.to_string();
    let common = [
        "server",
        "--beeApi",
        bee.url(),
        "--postageBlockId",
        bee.batch(),
        "--httpPort",
        &address,
        "--verbosity",
        "debug",
    ];
    let all = common.iter().chain(more);
    all.map(|word| (*word).to_owned()).collect()
}

fn started(start: &Start, address: SocketAddr) -> Process {
    let program = start.program.path();
    assert!(program.exists(), "{}", start.program.how_to_get());
    let directory = process::directory_in(&program::target());
    let config = directory.path().join(CONFIG);
    if !start.config.is_empty() {
        fs::write(&config, &start.config).expect("a new directory takes a file");
    }
    let config = ["--config".to_owned(), config.display().to_string()];
    let launch = Launch {
        name: "the server".to_owned(),
        program,
        arguments: start.arguments.iter().cloned().chain(config).collect(),
        environment: Vec::new(),
    };
    let mut process = Process::start(launch, directory);
    process.wait_until(&format!("answer on {address}"), || {
        http::get(address, "/version").is_ok()
    });
    process
}

/// Nobody has it now; between now and the server's start somebody might.
fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback interface has a free port")
}

/// Waits for the turn of this test program.
fn lock() -> File {
    let path = std::env::temp_dir().join(DEV_LOCK);
    let file =
        open(&path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return file,
            Err(TryLockError::WouldBlock) => assert!(
                start.elapsed() < DEV_WAIT,
                "another test program has had the server on {DEV} for {DEV_WAIT:?}; {} says which \
                 (`fuser` shows who has it open)",
                path.display()
            ),
            Err(TryLockError::Error(error)) => panic!("cannot lock {}: {error}", path.display()),
        }
        thread::sleep(PERIOD);
    }
}

/// Other users' lock files are locked all the same, but not made anew.
fn open(path: &Path) -> io::Result<File> {
    File::open(path).or_else(|_| {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    })
}

fn wait_for_port() {
    let start = Instant::now();
    // All interfaces, which is what the server asks for.
    while let Err(error) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, DEV.port())) {
        let other = http::get(DEV, "/version").map_or_else(
            |_| "something".to_owned(),
            |version| String::from_utf8_lossy(&version).trim().to_owned(),
        );
        assert!(
            start.elapsed() < PORT_WAIT,
            "port {} is taken ({error}) by {other}: stop that, or run the tests when it has ended",
            DEV.port()
        );
        thread::sleep(PERIOD);
    }
}
