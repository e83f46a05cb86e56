//! The command line, as the recipe's `exec` has it after the component's name.

use lexopt::ValueExt as _;

pub(crate) const USAGE: &str = "\
renders the frames of a scene on many providers

usage: render.wasm [--frames LIST] [--width N] [--height N] [--samples N]

  --frames LIST   frames, separated by commas, each a number N, a range N..END or a range with a step N..END:STEP,
                  where END is not included [0..60:10]
  --width N       in pixels [480]
  --height N      in pixels [360]
  --samples N     paths for each pixel; more take longer and leave less noise [32]
";

/// More frames than this are taken for a slip: each becomes a task.
const MAX_FRAMES: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Ascending, each once.
    pub(crate) frames: Vec<u32>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) samples: u32,
}

impl Options {
    /// Reads the command line; none when help is asked for.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let turn = (0..60).step_by(10).collect();
        let mut options = Self {
            frames: turn,
            width: 480,
            height: 360,
            samples: 32,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                lexopt::Arg::Long("help") => return Ok(None),
                lexopt::Arg::Long("frames") => {
                    options.frames = parser.value()?.parse_with(frames)?
                }
                lexopt::Arg::Long("width") => {
                    options.width = parser.value()?.parse_with(positive)?
                }
                lexopt::Arg::Long("height") => {
                    options.height = parser.value()?.parse_with(positive)?
                }
                lexopt::Arg::Long("samples") => {
                    options.samples = parser.value()?.parse_with(positive)?
                }
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Some(options))
    }

    /// Paths to trace for a frame.
    pub(crate) fn paths(&self) -> f64 {
        f64::from(self.width) * f64::from(self.height) * f64::from(self.samples)
    }
}

fn positive(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn frames(text: &str) -> Result<Vec<u32>, String> {
    let mut frames = Vec::new();
    for part in text.split(',') {
        let number = |text: &str| {
            text.parse::<u32>().map_err(|_| {
                format!("{text:?} in {part:?} is not a number; an example is 0..60:10")
            })
        };
        let (start, end, step) = match part.split_once("..") {
            None => (number(part)?, number(part)?.saturating_add(1), 1),
            Some((start, rest)) => match rest.split_once(':') {
                None => (number(start)?, number(rest)?, 1),
                Some((end, step)) => (number(start)?, number(end)?, number(step)?),
            },
        };
        if step == 0 || start >= end {
            return Err(format!("{part:?} has no frames; an example is 0..60:10"));
        }
        frames.extend((start..end).step_by(step as usize).take(MAX_FRAMES + 1));
        if frames.len() > MAX_FRAMES {
            return Err(format!("these are more than {MAX_FRAMES} frames"));
        }
    }
    frames.sort_unstable();
    frames.dedup();
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(lexopt::Parser::from_args(arguments))
            .map(Option::unwrap)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_six_frames() {
        assert_eq!(parse(&[]).unwrap().frames, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(frames("7"), Ok(vec![7]));
        assert_eq!(frames("3..6"), Ok(vec![3, 4, 5]));
        assert_eq!(frames("0..7:3,50,2..4,3"), Ok(vec![0, 2, 3, 6, 50]));
    }

    #[test]
    fn slips_are_told() {
        for text in [
            "",
            "x",
            "5..5",
            "6..5",
            "0..9:0",
            "0..4000000000",
            "1,,2",
            "-3",
        ] {
            assert!(frames(text).is_err(), "{text:?}");
        }
        assert!(
            parse(&["--samples", "0"])
                .unwrap_err()
                .contains("at least 1")
        );
        assert!(parse(&["--sample", "8"]).unwrap_err().contains("--sample"));
        assert!(parse(&["0..10"]).is_err());
    }
}
