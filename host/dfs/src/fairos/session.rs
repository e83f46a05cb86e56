//! A login, made when it is first needed and again when the server has forgotten it, and calls under it.
//!
//! The server keeps logins in memory for an hour. What it says then is said before it does anything, so such a call
//! is made again whatever it is; other failures are tried again only where nothing can have changed. An older server
//! wants a pod opened before anything else, and forgets that with the login; it says so before it does anything, too.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sovr_capability::Untrusted;
use tokio::sync::Mutex;

use super::account::{Account, AccountError, Login, Mnemonic, Password, SignedUp};
use super::dialect::{Dialect, Done, Entered, Refusal, User, snake};
use super::http::{self, Fault, Http, ORDINARY};
use crate::UserName;

/// Pauses before a call that only looks is made again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// How a session begins.
#[derive(Clone, Copy)]
enum Entrance {
    Login,
    SignUp,
}

impl Entrance {
    /// The call of the newer dialect. Some releases have it in the older one, too.
    fn newer(self) -> &'static str {
        match self {
            Entrance::Login => "v2/user/login",
            Entrance::SignUp => "v2/user/signup",
        }
    }

    /// The call of the older dialect.
    fn older(self) -> &'static str {
        match self {
            Entrance::Login => "v1/user/login",
            Entrance::SignUp => "v1/user/signup",
        }
    }
}

/// Not to be opened for.
pub(super) const CLOSE: &str = "v1/pod/close";

pub(super) struct Session {
    pub(super) http: Http,
    user: UserName,
    /// None where a login has to do, or for a session without an account.
    password: Option<Password>,
    login: Mutex<Option<Arc<Login>>>,
    /// Whether it began with a login, which can end.
    entered: bool,
}

/// A call to the server.
pub(super) struct Call<'a> {
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, &'a str)>,
    body: Option<Value>,
    login: bool,
    again: bool,
    limit: Duration,
}

impl<'a> Call<'a> {
    /// Looks and changes nothing.
    pub(super) fn get(path: &'static str) -> Call<'a> {
        Call {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            login: true,
            again: true,
            limit: ORDINARY,
        }
    }

    pub(super) fn post(path: &'static str, body: Value) -> Call<'a> {
        Call {
            method: Method::POST,
            body: Some(body),
            again: false,
            ..Call::get(path)
        }
    }

    pub(super) fn delete(path: &'static str, body: Value) -> Call<'a> {
        Call {
            method: Method::DELETE,
            ..Call::post(path, body)
        }
    }

    pub(super) fn with(mut self, key: &'static str, value: &'a str) -> Call<'a> {
        self.query.push((key, value));
        self
    }

    /// Without an account, though one may be there.
    pub(super) fn public(mut self) -> Call<'a> {
        self.login = false;
        self
    }

    /// Not again by itself, because it changes something.
    pub(super) fn once(mut self) -> Call<'a> {
        self.again = false;
        self
    }

    pub(super) fn within(mut self, limit: Duration) -> Call<'a> {
        self.limit = limit;
        self
    }

    /// The pod that it is about, by its name on the server.
    fn pod(&self) -> Option<&str> {
        let of_query = self.query.iter().find(|(key, _)| *key == "podName");
        of_query.map(|(_, name)| *name).or_else(|| {
            let name = self.body.as_ref()?.get("podName")?;
            name.as_str()
        })
    }
}

impl Session {
    pub(super) fn new(
        http: Http,
        user: UserName,
        password: Option<Password>,
        login: Option<Login>,
    ) -> Session {
        Session {
            http,
            user,
            password,
            entered: login.is_some(),
            login: Mutex::new(login.map(Arc::new)),
        }
    }

    pub(super) fn user(&self) -> &UserName {
        &self.user
    }

    /// The proof of login, made now if there is none or if there is only `stale`.
    pub(super) async fn login(&self, stale: Option<&Arc<Login>>) -> Result<Arc<Login>, Fault> {
        let mut login = self.login.lock().await;
        if let Some(current) = &*login
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, current))
        {
            return Ok(current.clone());
        }
        *login = None;
        let fresh = Arc::new(self.enter(Entrance::Login, None).await?.1);
        *login = Some(fresh.clone());
        Ok(fresh)
    }

    /// What the server understands, so far as it matters to somebody without an account.
    pub(super) async fn dialect(&self) -> Result<Dialect, Fault> {
        if let Some(login) = &*self.login.lock().await {
            return Ok(login.dialect());
        }
        if self.password.is_none() {
            return Ok(Dialect::Camel);
        }
        // Reading what is shared needs no login where there is such a call. Without its parameters it is refused.
        match self.send(&Call::get("public-dir"), None).await {
            Err(fault) if fault.refusal() == Some(Refusal::NoSuchCall) => {
                Ok(self.login(None).await?.dialect())
            }
            Err(fault @ Fault::Connection(_)) => Err(fault),
            _ => Ok(Dialect::Camel),
        }
    }

    /// Logs in with the password, also where a login holds.
    pub(super) async fn log_in(&self) -> Result<Login, Fault> {
        let mut login = self.login.lock().await;
        let fresh = self.enter(Entrance::Login, None).await?.1;
        *login = Some(Arc::new(fresh.clone()));
        Ok(fresh)
    }

    /// Begins a session in the dialect that the server answers in.
    async fn enter(
        &self,
        entrance: Entrance,
        mnemonic: Option<&Mnemonic>,
    ) -> Result<(Entered, Login), Fault> {
        let enter = |path, dialect| self.enter_by(path, dialect, mnemonic);
        let newer = enter(entrance.newer(), Dialect::Camel).await;
        let refusal = newer.as_ref().err().and_then(Fault::refusal);
        let entered = match refusal {
            Some(Refusal::NoSuchCall) => enter(entrance.older(), Dialect::Snake).await,
            Some(Refusal::OlderDialect) => {
                match enter(entrance.older(), Dialect::Snake).await {
                    // A user of the name registry, whom the older call does not know.
                    Err(fault)
                        if matches!(
                            fault.refusal(),
                            Some(Refusal::NoSuchUser | Refusal::NoSuchCall)
                        ) =>
                    {
                        enter(entrance.newer(), Dialect::Snake).await
                    }
                    entered => entered,
                }
            }
            _ => newer,
        };
        entered.map_err(|fault| self.refused(fault))
    }

    async fn enter_by(
        &self,
        path: &'static str,
        dialect: Dialect,
        mnemonic: Option<&Mnemonic>,
    ) -> Result<(Entered, Login), Fault> {
        let Some(password) = &self.password else {
            if self.entered {
                return Err(Fault::Account(AccountError::LoginEnded {
                    user: self.user.clone(),
                    host: self.http.host().to_owned(),
                }));
            }
            return Err(Fault::Account(AccountError::LoginNeeded {
                attempted: "do this".to_owned(),
            }));
        };
        let mut body = json!({ "userName": self.user.as_str(), "password": password.0.reveal() });
        if let Some(mnemonic) = mnemonic {
            body["mnemonic"] = Value::from(mnemonic.0.reveal());
        }
        let body = dialect.body(path, &body, None);
        // A sign-up waits for the name registry's blocks.
        let request = self.http.request(Method::POST, path, None).json(&body);
        let response = request.timeout(http::STORING).send().await;
        let response = response.map_err(http::broken)?;
        if response.status() == StatusCode::PAYMENT_REQUIRED {
            let unpaid: Entered = http::object(response, dialect).await?;
            return Err(Fault::Account(AccountError::Unfunded {
                user: self.user.clone(),
                address: Untrusted::new(unpaid.address).escaped(),
                mnemonic: unpaid.mnemonic.map(Mnemonic),
            }));
        }
        let response = http::judge(response, dialect).await?;
        let cookie = snake::login(response.headers());
        let mut entered: Entered = http::object(response, dialect).await?;
        let login = match dialect {
            Dialect::Camel => entered.access_token.take().map(Login),
            Dialect::Snake => cookie,
        };
        let login = login.ok_or_else(|| {
            Fault::Nonsense(
                "the server gave no token; it may be FairOS-dfs 0.9.0 to 0.9.4".to_owned(),
            )
        })?;
        Ok((entered, login))
    }

    fn refused(&self, fault: Fault) -> Fault {
        let (user, host) = (self.user.clone(), self.http.host().to_owned());
        let Fault::Refused {
            refusal, message, ..
        } = &fault
        else {
            return fault;
        };
        Fault::Account(match refusal {
            Refusal::NoSuchUser => AccountError::NoSuchUser { user, host },
            Refusal::WrongPassword => AccountError::WrongPassword { user, host },
            Refusal::UserExists => AccountError::UserExists { user, host },
            Refusal::UnfitPassword => AccountError::UnfitPassword {
                user,
                reason: message.escaped(),
            },
            _ => return fault,
        })
    }

    pub(super) async fn sign_up(&self, mnemonic: Option<&Mnemonic>) -> Result<SignedUp, Fault> {
        let mut login = self.login.lock().await;
        let (entered, fresh) = self.enter(Entrance::SignUp, mnemonic).await?;
        *login = Some(Arc::new(fresh.clone()));
        Ok(SignedUp {
            address: Untrusted::new(entered.address),
            mnemonic: entered.mnemonic.map(Mnemonic),
            login: fresh,
        })
    }

    /// Ends the login, if there is one.
    pub(super) async fn log_out(&self) -> Result<(), Fault> {
        let Some(login) = self.login.lock().await.take() else {
            return Ok(());
        };
        let request = self
            .http
            .request(Method::POST, "v1/user/logout", Some(&login))
            .json(&json!({}));
        match http::send(request.timeout(ORDINARY), login.dialect()).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.refusal() == Some(Refusal::NotLoggedIn) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn whoami(&self) -> Result<Account, Fault> {
        let user: User = match self.ask(Call::get("v1/user/stat")).await {
            // v0.8.1 looks there in its name registry, for users whom it has in its directory, too.
            Err(fault) if fault.refusal() == Some(Refusal::NoSuchUser) => {
                self.ask(Call::post("v1/user/export", json!({}))).await?
            }
            user => user?,
        };
        Ok(Account {
            user: Untrusted::new(user.user_name),
            address: Untrusted::new(user.address),
        })
    }

    /// Makes a call and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Fault> {
        let mut pauses = self.pauses(&call);
        loop {
            let answer = match self.once(&call).await {
                Ok((response, dialect)) => http::object(response, dialect).await,
                Err(fault) => Err(fault),
            };
            match answer {
                Err(fault) if fault.may_pass() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(fault),
                },
                answer => return answer,
            }
        }
    }

    /// Makes a call whose answer says nothing but that it was done.
    pub(super) async fn tell(&self, call: Call<'_>) -> Result<(), Fault> {
        self.ask::<Done>(call).await.map(|_| ())
    }

    /// Makes a call and gives the head of its answer.
    pub(super) async fn open(&self, call: Call<'_>) -> Result<Response, Fault> {
        let mut pauses = self.pauses(&call);
        loop {
            match self.once(&call).await {
                Err(fault) if fault.may_pass() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(fault),
                },
                answer => return answer.map(|(response, _)| response),
            }
        }
    }

    fn pauses(&self, call: &Call<'_>) -> std::slice::Iter<'static, Duration> {
        if call.again && call.limit == ORDINARY {
            PAUSES.iter()
        } else {
            [].iter()
        }
    }

    async fn once(&self, call: &Call<'_>) -> Result<(Response, Dialect), Fault> {
        if !call.login {
            let response = self.send(call, None).await;
            return match response {
                // An older server, which tells strangers nothing.
                Err(fault) if fault.refusal() == Some(Refusal::NoSuchCall) => {
                    Err(Fault::Account(AccountError::LoginNeeded {
                        attempted: "do this".to_owned(),
                    }))
                }
                response => Ok((response?, Dialect::Camel)),
            };
        }
        let mut login = self.login(None).await?;
        let (mut entered, mut opened) = (false, false);
        loop {
            let fault = match self.send(call, Some(&login)).await {
                Ok(response) => return Ok((response, login.dialect())),
                Err(fault) => fault,
            };
            match (fault.refusal(), call.pod()) {
                (Some(Refusal::NotLoggedIn), _) if !entered => {
                    entered = true;
                    login = self.login(Some(&login)).await?;
                }
                // Only in the older dialect.
                (Some(Refusal::PodNotOpen), Some(pod)) if !opened && call.path != CLOSE => {
                    opened = true;
                    self.open_pod(pod, &login).await?;
                }
                (Some(Refusal::PasswordNeeded), _) => return Err(self.password_needed()),
                _ => return Err(fault),
            }
        }
    }

    fn password_needed(&self) -> Fault {
        Fault::Account(AccountError::PasswordNeeded {
            user: self.user.clone(),
            host: self.http.host().to_owned(),
        })
    }

    async fn open_pod(&self, pod: &str, login: &Login) -> Result<(), Fault> {
        // v0.8.1 ends when it is asked without, and with it everybody's work.
        if self.password.is_none() {
            return Err(self.password_needed());
        }
        let open = Call::post("v1/pod/open", json!({ "podName": pod }));
        match self.send(&open, Some(login)).await {
            Ok(_) => Ok(()),
            // Somebody else was faster.
            Err(fault) if fault.refusal() == Some(Refusal::PodOpen) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn send(&self, call: &Call<'_>, login: Option<&Login>) -> Result<Response, Fault> {
        let dialect = login.map_or(Dialect::Camel, Login::dialect);
        let query: Vec<_> = call
            .query
            .iter()
            .map(|(key, value)| (dialect.field(key), value))
            .collect();
        let mut request = self
            .http
            .request(call.method.clone(), call.path, login)
            .query(&query);
        if let Some(body) = &call.body {
            request = request.json(&dialect.body(call.path, body, self.password.as_ref()));
        }
        // The limit is for the head; what comes after is either small or watched by who reads it.
        match tokio::time::timeout(call.limit, http::send(request, dialect)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Connection(format!(
                "the server did not answer within {} s",
                call.limit.as_secs()
            ))),
        }
    }
}
