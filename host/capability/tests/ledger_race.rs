//! Processes racing for one ceiling, and a process that is killed while it holds money. The program starts itself again
//! as a racer, so it has a main of its own.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_capability::ledger::Ceilings;
use sovr_capability::{Amount, Home, Ledger, RunId};

const ROLE: &str = "SOVR_LEDGER_RACER";
const CEILING: &str = "10";
const PIECE: &str = "0.7";
const COST: &str = "0.4";

fn main() -> ExitCode {
    match env::var(ROLE) {
        Ok(role) => racer(&role),
        Err(_) => {
            let tests = vec![
                Trial::test(
                    "twenty_processes_racing_for_one_ceiling_never_exceed_it",
                    race,
                ),
                Trial::test(
                    "a_killed_process_gives_back_what_it_had_reserved_and_keeps_what_it_spent",
                    killed,
                ),
            ];
            libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
        }
    }
}

fn glm(text: &str) -> Amount {
    text.parse().expect("an amount")
}

fn ceilings() -> Ceilings {
    Ceilings {
        run: glm(CEILING),
        day: glm(CEILING),
        month: glm(CEILING),
    }
}

/// A process of its own: reserves and spends until nothing is left, or reserves once and waits to be killed.
fn racer(role: &str) -> ExitCode {
    let home = env::args_os().nth(1).expect("a home");
    let ledger = Ledger::open(&Home::at(Path::new(&home))).expect("a ledger");
    let account = ledger
        .account(&RunId::generate().expect("a name"), ceilings())
        .expect("an account");
    // Racers begin when the test closes their standard input; the holder is killed before, or ends with the test.
    let until_stdin_is_closed = || {
        std::io::stdin()
            .read_to_end(&mut Vec::new())
            .expect("stdin")
    };
    if role == "hold" {
        let reservation = account.reserve(glm("8"), "to be killed").expect("money");
        reservation.commit(glm("1")).expect("a cost");
        println!("holding");
        std::io::stdout().flush().expect("stdout");
        until_stdin_is_closed();
        return ExitCode::SUCCESS;
    }
    until_stdin_is_closed();
    while let Ok(reservation) = account.reserve(glm(PIECE), "race") {
        reservation.commit(glm(COST)).expect("a cost");
    }
    println!("{}", account.close().expect("a sum"));
    ExitCode::SUCCESS
}

fn start(role: &str, home: &Path) -> Result<Child, Failed> {
    let program = env::current_exe()?;
    let child = Command::new(program)
        .arg(home)
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

fn home() -> Result<(tempfile::TempDir, Home), Failed> {
    let dir = tempfile::tempdir()?;
    let home = Home::at(dir.path());
    home.prepare()?;
    Ok((dir, home))
}

fn race() -> Result<(), Failed> {
    let (dir, home) = home()?;
    let ledger = Ledger::open(&home)?;
    let mut racers = (0..20)
        .map(|_| start("race", dir.path()))
        .collect::<Result<Vec<_>, _>>()?;
    let over = AtomicBool::new(false);
    let (spent, most) = std::thread::scope(|scope| {
        // Looks on while they race: what is spent and what is reserved never exceed the ceiling together.
        let onlooker = scope.spawn(|| {
            let mut most = Amount::ZERO;
            while !over.load(Ordering::Relaxed) {
                let runs = ledger.runs(100).expect("the runs' money");
                let taken = runs.iter().flat_map(|run| [run.spent, run.reserved]);
                most = most.max(Amount::checked_sum(taken).expect("a sum"));
            }
            most
        });
        for racer in &mut racers {
            drop(racer.stdin.take());
        }
        let spent: Result<Vec<Amount>, Failed> = racers
            .into_iter()
            .map(|racer| {
                let output = racer.wait_with_output()?;
                Ok(String::from_utf8(output.stdout)?.trim().parse()?)
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        (spent, onlooker.join().expect("the onlooker"))
    });
    let spent = spent?;
    let total = Amount::checked_sum(spent.iter().copied()).ok_or("no sum")?;
    let ceiling = glm(CEILING);
    if total > ceiling || most > ceiling {
        return Err(format!("{total} was spent and {most} taken at a time, of {ceiling}").into());
    }
    if ceiling.saturating_sub(total) >= glm(PIECE) {
        return Err(format!("only {total} was spent; the race did not go to the end").into());
    }
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let (dir, home) = home()?;
    let mut holder = start("hold", dir.path())?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    if line != "holding\n" {
        return Err(format!("the holder said {line:?}").into());
    }
    let account = Ledger::open(&home)?.account(&RunId::generate()?, ceilings())?;
    if account.available()? != glm("2") {
        return Err(format!(
            "{} is available beside a live run that holds 8",
            account.available()?
        )
        .into());
    }
    holder.kill()?;
    holder.wait()?;
    let rest = account.reserve_rest("after the kill")?.amount();
    if rest != glm("9") {
        return Err(format!("{rest} is left after the kill, not 9").into());
    }
    Ok(())
}
