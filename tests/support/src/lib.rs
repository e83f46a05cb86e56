//! What tests need that run against servers of others: the server as a process, and HTTP for fakes and questions.

pub mod http;
pub mod process;
