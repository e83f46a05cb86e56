//! What a demand says and asks, in the market's own form: properties, and a text of constraints.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::package::Runnable;
use crate::demand::Demand;
use crate::yagna::market::Declaration;
use crate::yagna::payment::Decorations;
use crate::yagna::properties as names;

/// An agreement that may not last at least so long is refused by stock providers, which want five minutes.
const LEAST: SignedDuration = SignedDuration::from_mins(10);
/// Between the job's end and the agreement's: for the last bills.
const AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Writes the demand for one form of its package. `end` is when the job is over.
///
/// # Errors
/// In words, if the market has no way to ask for this.
pub(super) fn declare(
    demand: &Demand,
    form: &Runnable,
    decorations: &Decorations,
    node_name: Option<&str>,
    end: Timestamp,
) -> Result<Declaration, String> {
    let expiration = (end + AFTER).max(Timestamp::now() + LEAST);
    let mut properties = Map::new();
    for decoration in &decorations.properties {
        properties.insert(decoration.key.clone(), decoration.value.clone());
    }
    let mut says = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    says(names::EXPIRATION, json!(expiration.as_millisecond()));
    says(names::MULTI_ACTIVITY, json!(true));
    says(names::SUBNET, json!(demand.subnet));
    says(names::TASK_PACKAGE, json!(form.package));
    if let Some(format) = form.format {
        says(names::PACKAGE_FORMAT, json!(format));
    }
    if let Some(name) = node_name {
        says(names::NODE_NAME, json!(name));
    }

    let mut terms = vec![
        equal(names::SUBNET, &demand.subnet)?,
        equal(names::PRICING_MODEL, names::LINEAR)?,
    ];
    terms.extend(decorations.constraints.iter().cloned());
    let runtimes: Result<Vec<_>, _> = form
        .runtimes
        .iter()
        .map(|runtime| equal(names::RUNTIME_NAME, runtime))
        .collect();
    terms.push(match runtimes?.as_slice() {
        [only] => only.clone(),
        several => format!("(|{})", several.concat()),
    });
    for (name, least) in [
        (names::MEMORY, demand.min_mem_gib),
        (names::STORAGE, demand.min_storage_gib),
        (names::THREADS, demand.min_cpu_threads.map(f64::from)),
    ] {
        match least {
            None => {}
            Some(least) if least.is_finite() && least >= 0.0 => {
                terms.push(format!("({name}>={least})"));
            }
            Some(least) => return Err(format!("`{least}` is no amount of {name}")),
        }
    }
    for capability in &form.capabilities {
        terms.push(equal(names::RUNTIME_CAPABILITIES, capability)?);
    }
    if let Some(protocol) = &form.transfer {
        terms.push(equal(names::TRANSFER_PROTOCOLS, protocol)?);
    }
    Ok(Declaration {
        properties,
        constraints: format!("(&{})", terms.concat()),
    })
}

/// A value must be exactly this. The language of constraints has no way to escape what has a meaning in it, and a
/// mistake would never match anything.
fn equal(name: &str, value: &str) -> Result<String, String> {
    let has_meaning = |c: char| "()*\\[],<>=~!&|".contains(c) || c.is_control();
    if value.is_empty() || value.contains(has_meaning) {
        return Err(format!(
            "`{}` cannot be asked for as {name}: it must not be empty, and ( ) * \\ [ ] , < > = ~ ! & | mean something",
            value.escape_default()
        ));
    }
    Ok(format!("({name}={value})"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sovr_capability::Amount;

    use super::*;
    use crate::demand::{Form, Package, WasiPackage};
    use crate::transfer::Bytes;
    use crate::yagna::payment::Decoration;

    fn demand() -> Demand {
        Demand {
            package: Package {
                name: "tool".to_owned(),
                forms: vec![Form::Wasi(WasiPackage {
                    archive: Arc::new(Bytes::new(*b"")),
                    digest: None,
                    url: None,
                })],
            },
            min_mem_gib: Some(0.5),
            min_storage_gib: Some(2.0),
            min_cpu_threads: Some(1),
            subnet: "public".to_owned(),
            lifetime: Duration::from_secs(60),
            budget: Amount::glm(1),
        }
    }

    fn written(demand: &Demand, end: Timestamp) -> Result<Declaration, String> {
        let form = Runnable {
            package: "hash:sha3:00:gftp://0x00/1".to_owned(),
            format: None,
            runtimes: &["sovr-wasi", "wasmtime"],
            capabilities: vec!["inet".to_owned(), "vpn".to_owned()],
            transfer: Some("https".to_owned()),
        };
        let decorations = Decorations {
            properties: vec![Decoration {
                key: "golem.com.payment.protocol.version".to_owned(),
                value: json!("3"),
            }],
            constraints: vec!["(golem.com.payment.protocol.version>1)".to_owned()],
        };
        declare(demand, &form, &decorations, Some("me"), end)
    }

    #[test]
    fn a_demand_is_written_as_the_market_reads_it() {
        let end = Timestamp::now() + SignedDuration::from_hours(1);
        let written = written(&demand(), end).unwrap();
        assert_eq!(
            written.constraints,
            "(&(golem.node.debug.subnet=public)(golem.com.pricing.model=linear)\
             (golem.com.payment.protocol.version>1)\
             (|(golem.runtime.name=sovr-wasi)(golem.runtime.name=wasmtime))\
             (golem.inf.mem.gib>=0.5)(golem.inf.storage.gib>=2)(golem.inf.cpu.threads>=1)\
             (golem.runtime.capabilities=inet)(golem.runtime.capabilities=vpn)\
             (golem.activity.caps.transfer.protocol=https))"
        );
        let expiration = (end + AFTER).as_millisecond();
        assert_eq!(
            Value::Object(written.properties),
            json!({
                "golem.srv.comp.expiration": expiration,
                "golem.srv.caps.multi-activity": true,
                "golem.node.debug.subnet": "public",
                "golem.node.id.name": "me",
                "golem.com.payment.protocol.version": "3",
                "golem.srv.comp.task_package": "hash:sha3:00:gftp://0x00/1",
            })
        );
    }

    #[test]
    fn an_agreement_may_last_as_long_as_providers_want_it_at_least() {
        let now = Timestamp::now();
        let written = written(&demand(), now).unwrap();
        let expiration = written.properties[names::EXPIRATION].as_i64().unwrap();
        assert!(expiration >= (now + LEAST).as_millisecond());
    }

    #[test]
    fn what_would_end_a_constraint_early_is_refused() {
        for subnet in ["", "a)(b=c", "pub*", "a\nb", "[a,b]"] {
            let demand = Demand {
                subnet: subnet.to_owned(),
                ..demand()
            };
            let refused = written(&demand, Timestamp::now()).unwrap_err();
            assert!(refused.contains(names::SUBNET), "{refused}");
        }
        for least in [f64::NAN, f64::INFINITY, -1.0] {
            let demand = Demand {
                min_mem_gib: Some(least),
                ..demand()
            };
            assert!(written(&demand, Timestamp::now()).is_err(), "{least}");
        }
    }
}
