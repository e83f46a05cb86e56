//! Columns of text: a heading, then rows, two spaces between columns, no lines drawn.
//!
//! Cells are plain, already neutralised text. Widths are those of a terminal, so that names in any script line up.

use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cells wider than this are cut, so that one long name cannot push the other columns off the screen. Those of the last
/// column push nothing.
const WIDEST: usize = 40;

/// A column of text is not cut below this, however narrow the terminal.
const NARROWEST: usize = 8;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    most: Option<usize>,
}

impl Table {
    /// A table with these columns and no rows.
    pub(crate) fn new(columns: impl Into<Vec<(&'static str, Align)>>) -> Table {
        Table {
            columns: columns.into(),
            rows: Vec::new(),
            most: None,
        }
    }

    /// Adds a row; it has as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        if let Some((_, others)) = cells.split_last_mut() {
            for cell in others {
                *cell = cut(cell, WIDEST);
            }
        }
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Cuts the widest columns of text until a row fits into so many columns of the terminal.
    pub(crate) fn within(mut self, most: Option<usize>) -> Table {
        self.most = most;
        self
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.width(column))
            .collect();
        let Some(most) = self.most else {
            return widths;
        };
        let between = 2 * self.columns.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + between > most {
            let texts = widths
                .iter_mut()
                .zip(&self.columns)
                .filter(|(_, (_, align))| *align == Align::Left);
            match texts
                .map(|(width, _)| width)
                .filter(|width| **width > NARROWEST)
                .max()
            {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        widths
    }

    fn width(&self, column: usize) -> usize {
        self.rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.width())
            .chain([self.columns[column].0.width()])
            .max()
            .unwrap_or_default()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let heading = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                let cell = cut(cell, *width);
                let space = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left => line.extend([cell, space, "  ".to_owned()]),
                    Align::Right => line.extend([space, cell, "  ".to_owned()]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text`, shortened to `width` columns of a terminal with an ellipsis at the end.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_any_script() {
        let mut table = Table::new([
            ("task", Align::Left),
            ("time", Align::Right),
            ("result", Align::Left),
        ]);
        table.row(["frame 0".into(), "1.5 s".into(), "ok".into()]);
        table.row(["画像".into(), "12.0 s".into(), "failed".into()]);
        assert_eq!(
            table.to_string(),
            "task       time  result\n\
             frame 0   1.5 s  ok\n\
             画像     12.0 s  failed\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_text_and_never_numbers() {
        let mut table = Table::new([
            ("task", Align::Left),
            ("cost", Align::Right),
            ("result", Align::Left),
        ]);
        table.row([
            "a task with a long name".into(),
            "0.123456".into(),
            "accepted".into(),
        ]);
        let shown = table.within(Some(32)).to_string();
        assert_eq!(
            shown,
            "task              cost  result\na task with…  0.123456  accepted\n"
        );
        assert!(shown.lines().all(|line| line.width() <= 32));
    }

    #[test]
    fn long_cells_are_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("画像画像", 6), "画像…");
        assert_eq!(cut("画像画像", 5), "画像…");
    }
}
