//! Asks for more Golem work than it was granted. The first argument names a package it was granted, the second the
//! budget it was granted, in whole GLM.

use std::time::Duration;

use hostile::report;
use sovr::Executor;

const JOBS: u32 = 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let package = arguments.next().expect("a package");
    let budget: u32 = arguments
        .next()
        .and_then(|budget| budget.parse().ok())
        .expect("a budget");

    let job = || Executor::builder(&package).budget("0.01");
    report(
        "open a job over budget",
        job().budget(format!("{budget}.000000000000000001")).open(),
    );
    report("open a job of negative budget", job().budget("-1").open());
    report("open a job of no number", job().budget("NaN").open());
    report(
        "open a job of 10000 workers",
        job().max_workers(10_000).open(),
    );
    report(
        "open a job that never ends",
        job().timeout(Duration::from_nanos(u64::MAX)).open(),
    );
    report(
        "open a job on another subnet",
        job().subnet("not-granted").open(),
    );
    report(
        "open a job with a package not granted",
        Executor::builder("not-granted").budget("0.01").open(),
    );

    // Two of these are more than there is.
    let share = format!("{}.{}", budget * 6 / 10, budget * 6 % 10);
    let jobs: Vec<_> = (0..JOBS)
        .filter_map(|_| job().budget(&share).open().ok())
        .collect();
    if jobs.len() > 1 {
        println!(
            "EVIL: {} jobs of {share} GLM each out of {budget}",
            jobs.len()
        );
    } else {
        println!("held: {} of {JOBS} jobs of {share} GLM each", jobs.len());
    }
}
