//! Tables without lines: columns that never wrap, and a note that may.

use std::iter;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

/// Blanks between columns.
const GAP: u16 = 2;
/// A note column narrower than this is no pleasure to read; notes then get lines of their own.
const NOTE_MIN: u16 = 28;
/// Blanks before a note on a line of its own.
const INDENT: u16 = 4;

/// Rows of cells, each with a note: the last column, or below the row where the terminal is
/// too narrow for it.
#[derive(Debug)]
pub(crate) struct Sheet {
    head: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    note: String,
}

impl Sheet {
    /// The last of `head` stands above the notes.
    pub(crate) fn new<const COLUMNS: usize>(head: [&'static str; COLUMNS]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// The last of `cells` is the note.
    pub(crate) fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        let mut cells = Vec::from(cells);
        let note = cells.pop().unwrap_or_default();
        self.rows.push(Row { cells, note });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines, for a terminal of so many columns.
    pub(crate) fn render(&self, width: Option<u16>) -> String {
        let whole = self.table(|_| true);
        let Some(width) = width else { return print(&whole) };
        let widths = whole.column_max_content_widths();
        let (note, others) = widths.split_last().unwrap_or((&0, &[]));
        let used: u16 = others.iter().map(|column| column.saturating_add(GAP)).sum();
        let room = width.saturating_sub(used);
        if *note <= room {
            print(&whole)
        } else if room >= NOTE_MIN {
            self.wrapped(whole, width)
        } else {
            self.notes_below(width, room)
        }
    }

    /// The table, without the notes that `beside` turns down.
    fn table(&self, beside: impl Fn(&str) -> bool) -> Table {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.head.clone());
        for row in &self.rows {
            let note = if beside(&row.note) { row.note.as_str() } else { "" };
            table.add_row(row.cells.iter().map(String::as_str).chain(iter::once(note)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        if let Some(note) = table.column_mut(self.head.len() - 1) {
            note.set_padding((0, 0));
        }
        table
    }

    fn wrapped(&self, mut table: Table, width: u16) -> String {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        table.set_constraints(iter::repeat_n(ColumnConstraint::ContentWidth, self.head.len() - 1));
        print(&table)
    }

    fn notes_below(&self, width: u16, room: u16) -> String {
        let fits = |note: &str| note.chars().count() <= usize::from(room);
        let table = self.table(fits);
        let mut lines = table.lines();
        let mut head = lines.next().unwrap_or_default();
        head.truncate(head.floor_char_boundary(width.into()));
        let mut text = String::new();
        push_line(&mut text, &head);
        for (row, line) in self.rows.iter().zip(lines) {
            push_line(&mut text, &line);
            if !fits(&row.note) {
                text.push_str(&wrap(&row.note, width));
            }
        }
        text
    }
}

fn wrap(note: &str, width: u16) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .add_row([note]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((INDENT, 0));
    }
    print(&table)
}

fn print(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        push_line(&mut text, &line);
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}
