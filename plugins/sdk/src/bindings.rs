//! The host's interfaces as they are, generated from the world `imports` of `sovr:pod`.

#![allow(
    missing_docs,
    reason = "generated code has the documentation of the WIT files where they have any"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "imports",
});
