//! `sovr:pod/golem`: executors and activities are objects of the broker; here are their handles.

use wasmtime::component::Resource;

use super::Guest;
use crate::bindings::errors::Error;
use crate::bindings::golem::{
    Amount, Duration, Event, Host, HostActivity, HostExecutor, Options, Outcome, Provider, Step,
    Summary, Terms,
};
use crate::wire::{Call, Handle, Note, Reply};

/// An executor that a guest holds.
#[derive(Debug)]
pub struct Executor {
    handle: Handle,
    terms: Terms,
    closed: bool,
}

/// An activity that a guest holds.
#[derive(Debug)]
pub struct Activity {
    pub(super) handle: Handle,
    provider: Provider,
    closed: bool,
}

impl Host for Guest {}

impl HostExecutor for Guest {
    async fn open(
        &mut self,
        options: Options,
    ) -> wasmtime::Result<Result<Resource<Executor>, Error>> {
        let opened = self
            .broker
            .ask(Call::OpenExecutor(options), |reply| match reply {
                Reply::Executor { executor, terms } => Some(Executor {
                    handle: executor,
                    terms,
                    closed: false,
                }),
                _ => None,
            })
            .await?;
        Ok(match opened {
            Ok(executor) => Ok(self.table.push(executor)?),
            Err(error) => Err(error),
        })
    }

    async fn terms(&mut self, executor: Resource<Executor>) -> wasmtime::Result<Terms> {
        Ok(self.table.get(&executor)?.terms.clone())
    }

    async fn on_worker_start(
        &mut self,
        executor: Resource<Executor>,
        steps: Vec<Step>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let executor = self.table.get(&executor)?.handle;
        self.broker
            .order(Call::OnWorkerStart { executor, steps })
            .await
    }

    async fn submit(
        &mut self,
        executor: Resource<Executor>,
        label: String,
        steps: Vec<Step>,
        timeout: Option<Duration>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let executor = self.table.get(&executor)?.handle;
        self.broker
            .ask(
                Call::Submit {
                    executor,
                    label,
                    steps,
                    timeout,
                },
                |reply| match reply {
                    Reply::Task(task) => Some(task),
                    _ => None,
                },
            )
            .await
    }

    async fn next(
        &mut self,
        executor: Resource<Executor>,
    ) -> wasmtime::Result<Result<Option<Outcome>, Error>> {
        let executor = self.table.get(&executor)?.handle;
        self.broker
            .ask(Call::NextOutcome(executor), |reply| match reply {
                Reply::Outcome(outcome) => Some(outcome),
                _ => None,
            })
            .await
    }

    async fn accept(
        &mut self,
        executor: Resource<Executor>,
        task: u64,
    ) -> wasmtime::Result<Result<(), Error>> {
        let executor = self.table.get(&executor)?.handle;
        self.broker.order(Call::Accept { executor, task }).await
    }

    async fn reject(
        &mut self,
        executor: Resource<Executor>,
        task: u64,
        reason: String,
        retry: bool,
    ) -> wasmtime::Result<Result<(), Error>> {
        let executor = self.table.get(&executor)?.handle;
        self.broker
            .order(Call::Reject {
                executor,
                task,
                reason,
                retry,
            })
            .await
    }

    async fn close(
        &mut self,
        executor: Resource<Executor>,
    ) -> wasmtime::Result<Result<Summary, Error>> {
        let handle = self.table.get(&executor)?.handle;
        let summary = self
            .broker
            .ask(Call::CloseExecutor(handle), |reply| match reply {
                Reply::Summary(summary) => Some(summary),
                _ => None,
            })
            .await?;
        if summary.is_ok() {
            self.table.get_mut(&executor)?.closed = true;
        }
        Ok(summary)
    }

    async fn drop(&mut self, executor: Resource<Executor>) -> wasmtime::Result<()> {
        let executor = self.table.delete(executor)?;
        if !executor.closed {
            self.broker.tell(Note::DropExecutor(executor.handle)).await;
        }
        Ok(())
    }
}

impl HostActivity for Guest {
    async fn open(
        &mut self,
        options: Options,
    ) -> wasmtime::Result<Result<Resource<Activity>, Error>> {
        let opened = self
            .broker
            .ask(Call::OpenActivity(options), |reply| match reply {
                Reply::Activity { activity, provider } => Some(Activity {
                    handle: activity,
                    provider,
                    closed: false,
                }),
                _ => None,
            })
            .await?;
        Ok(match opened {
            Ok(activity) => Ok(self.table.push(activity)?),
            Err(error) => Err(error),
        })
    }

    async fn runs_on(&mut self, activity: Resource<Activity>) -> wasmtime::Result<Provider> {
        Ok(self.table.get(&activity)?.provider.clone())
    }

    async fn exec(
        &mut self,
        activity: Resource<Activity>,
        steps: Vec<Step>,
        timeout: Option<Duration>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let activity = self.table.get(&activity)?.handle;
        self.broker
            .order(Call::Exec {
                activity,
                steps,
                timeout,
            })
            .await
    }

    async fn next(
        &mut self,
        activity: Resource<Activity>,
    ) -> wasmtime::Result<Result<Option<Event>, Error>> {
        let activity = self.table.get(&activity)?.handle;
        self.broker
            .ask(Call::NextEvent(activity), |reply| match reply {
                Reply::Event(event) => Some(event),
                _ => None,
            })
            .await
    }

    async fn close(
        &mut self,
        activity: Resource<Activity>,
    ) -> wasmtime::Result<Result<Amount, Error>> {
        let handle = self.table.get(&activity)?.handle;
        let amount = self
            .broker
            .ask(Call::CloseActivity(handle), |reply| match reply {
                Reply::Amount(amount) => Some(amount),
                _ => None,
            })
            .await?;
        if amount.is_ok() {
            self.table.get_mut(&activity)?.closed = true;
        }
        Ok(amount)
    }

    async fn drop(&mut self, activity: Resource<Activity>) -> wasmtime::Result<()> {
        let activity = self.table.delete(activity)?;
        if !activity.closed {
            self.broker.tell(Note::DropActivity(activity.handle)).await;
        }
        Ok(())
    }
}
