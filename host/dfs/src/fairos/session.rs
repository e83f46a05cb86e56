//! A login, made when it is first needed and again when the server has forgotten it, and calls under it.
//!
//! The server keeps logins in memory for an hour. What it says then is said before it does anything, so such a call
//! is made again whatever it is; other failures are tried again only where nothing can have changed.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sovr_capability::Untrusted;
use tokio::sync::Mutex;

use super::account::{Account, AccountError, Login, Mnemonic, Password, Secret, SignedUp};
use super::dialect::{Done, Entered, Refusal, User};
use super::http::{self, Fault, Http, ORDINARY};
use crate::UserName;

/// Pauses before a call that only looks is made again.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

pub(super) struct Session {
    pub(super) http: Http,
    user: UserName,
    /// None where a login has to do, or for a session without an account.
    password: Option<Password>,
    token: Mutex<Option<Arc<Secret>>>,
}

/// A call to the server.
pub(super) struct Call<'a> {
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, &'a str)>,
    body: Option<Value>,
    login: bool,
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
            limit: ORDINARY,
        }
    }

    pub(super) fn post(path: &'static str, body: Value) -> Call<'a> {
        Call {
            method: Method::POST,
            body: Some(body),
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

    pub(super) fn within(mut self, limit: Duration) -> Call<'a> {
        self.limit = limit;
        self
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
            token: Mutex::new(login.map(|Login(token)| Arc::new(token))),
        }
    }

    pub(super) fn user(&self) -> &UserName {
        &self.user
    }

    /// The proof of login, made now if there is none or if there is only `stale`.
    pub(super) async fn token(&self, stale: Option<&Arc<Secret>>) -> Result<Arc<Secret>, Fault> {
        let mut token = self.token.lock().await;
        if let Some(current) = &*token
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, current))
        {
            return Ok(current.clone());
        }
        let ended = token.take().is_some();
        if ended && self.password.is_none() {
            return Err(Fault::Account(AccountError::LoginEnded {
                user: self.user.clone(),
                host: self.http.host().to_owned(),
            }));
        }
        let fresh = Arc::new(self.enter("v2/user/login", None).await?.1);
        *token = Some(fresh.clone());
        Ok(fresh)
    }

    /// Logs in with the password, also where a login holds.
    pub(super) async fn log_in(&self) -> Result<Login, Fault> {
        let mut token = self.token.lock().await;
        let fresh = self.enter("v2/user/login", None).await?.1;
        *token = Some(Arc::new(fresh.clone()));
        Ok(Login(fresh))
    }

    async fn enter(
        &self,
        path: &'static str,
        mnemonic: Option<&Mnemonic>,
    ) -> Result<(Entered, Secret), Fault> {
        let Some(password) = &self.password else {
            return Err(Fault::Account(AccountError::LoginNeeded {
                attempted: "do this".to_owned(),
            }));
        };
        let mut body = json!({ "userName": self.user.as_str(), "password": password.0.reveal() });
        if let Some(mnemonic) = mnemonic {
            body["mnemonic"] = Value::from(mnemonic.0.reveal());
        }
        // A sign-up waits for the name registry's blocks.
        let request = self.http.request(Method::POST, path, None).json(&body);
        let response = request.timeout(http::STORING).send().await;
        let response = response.map_err(http::broken)?;
        if response.status() == StatusCode::PAYMENT_REQUIRED {
            let unpaid: Entered = http::object(response).await?;
            return Err(Fault::Account(AccountError::Unfunded {
                user: self.user.clone(),
                address: Untrusted::new(unpaid.address).escaped(),
                mnemonic: unpaid.mnemonic.map(Mnemonic),
            }));
        }
        let mut entered: Entered = match http::judge(response).await {
            Ok(response) => http::object(response).await?,
            Err(fault) => return Err(self.refused(fault)),
        };
        let token = entered.access_token.take().ok_or_else(|| {
            Fault::Nonsense(
                "the server gave no token; it may be older than FairOS-dfs 0.9.5".to_owned(),
            )
        })?;
        Ok((entered, token))
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
        let mut token = self.token.lock().await;
        let (entered, fresh) = self.enter("v2/user/signup", mnemonic).await?;
        *token = Some(Arc::new(fresh.clone()));
        Ok(SignedUp {
            address: Untrusted::new(entered.address),
            mnemonic: entered.mnemonic.map(Mnemonic),
            login: Login(fresh),
        })
    }

    /// Ends the login, if there is one.
    pub(super) async fn log_out(&self) -> Result<(), Fault> {
        let Some(token) = self.token.lock().await.take() else {
            return Ok(());
        };
        let request = self
            .http
            .request(Method::POST, "v1/user/logout", Some(&token))
            .json(&json!({}));
        match http::send(request.timeout(ORDINARY)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.refusal() == Some(Refusal::NotLoggedIn) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn whoami(&self) -> Result<Account, Fault> {
        let user: User = self.ask(Call::get("v1/user/stat")).await?;
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
                Ok(response) => http::object(response).await,
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
                answer => return answer,
            }
        }
    }

    fn pauses(&self, call: &Call<'_>) -> std::slice::Iter<'static, Duration> {
        if call.method == Method::GET && call.limit == ORDINARY {
            PAUSES.iter()
        } else {
            [].iter()
        }
    }

    async fn once(&self, call: &Call<'_>) -> Result<Response, Fault> {
        let send = async |token: Option<&Secret>| {
            let mut request: RequestBuilder = self
                .http
                .request(call.method.clone(), call.path, token)
                .query(&call.query);
            if let Some(body) = &call.body {
                request = request.json(body);
            }
            // The limit is for the head; what comes after is either small or watched by who reads it.
            match tokio::time::timeout(call.limit, http::send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Fault::Connection(format!(
                    "the server did not answer within {} s",
                    call.limit.as_secs()
                ))),
            }
        };
        if !call.login {
            return send(None).await;
        }
        let token = self.token(None).await?;
        match send(Some(&token)).await {
            Err(fault) if fault.refusal() == Some(Refusal::NotLoggedIn) => {
                let fresh = self.token(Some(&token)).await?;
                send(Some(&fresh)).await
            }
            answer => answer,
        }
    }
}
