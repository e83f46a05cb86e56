//! Host bindings for the world `sovr:pod/script`, made from `wit/`.
//!
//! Contract types are also what crosses the socket between a runner and the broker, so they can be serialised.
//! That divides the generation in two: `transfer.place` holds a borrowed handle, which only means something inside
//! the process that owns the table, so the interfaces with plain data get the derives and the rest of the world
//! reuses their types. [`crate::wire::Place`] is the form of a place that can travel.

#![allow(missing_docs, reason = "generated; the documentation is in wit/")]
#![allow(unreachable_pub, reason = "generated")]

mod data {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package sovr:bindings;
            world data {
                import sovr:pod/errors@0.1.0;
                import sovr:pod/pod@0.1.0;
                import sovr:pod/log@0.1.0;
                import sovr:pod/progress@0.1.0;
                import sovr:pod/golem@0.1.0;
                import sovr:pod/dfs@0.1.0;
            }
        ",
        world: "sovr:bindings/data",
        imports: { default: async | trappable },
        with: {
            "sovr:pod/golem.executor": crate::interfaces::golem::Executor,
            "sovr:pod/golem.activity": crate::interfaces::golem::Activity,
            "sovr:pod/progress.bar": crate::interfaces::progress::Bar,
        },
        additional_derives: [Clone, serde::Serialize, serde::Deserialize],
    });
}

mod world {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "sovr:pod/script",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "sovr:pod/errors": super::data::sovr::pod::errors,
            "sovr:pod/pod": super::data::sovr::pod::pod,
            "sovr:pod/log": super::data::sovr::pod::log,
            "sovr:pod/progress": super::data::sovr::pod::progress,
            "sovr:pod/golem": super::data::sovr::pod::golem,
            "sovr:pod/dfs": super::data::sovr::pod::dfs,
            "wasi": wasmtime_wasi::p2::bindings,
        },
    });
}

pub use data::sovr::pod::{dfs, errors, golem, log, pod, progress};
pub use world::sovr::pod::transfer;
pub use world::{Script, ScriptPre};
