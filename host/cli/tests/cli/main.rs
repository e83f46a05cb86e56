//! The program as a user meets it: words in; standard output, standard error and exit code out.

mod account;
mod arguments;
mod cleanup;
mod consent;
mod golem;
mod help;
mod hostile;
mod init;
mod interrupt;
mod json;
mod leftover;
mod looking;
mod persist_self;
mod person;
mod place;
mod sharing;
mod terminal;
