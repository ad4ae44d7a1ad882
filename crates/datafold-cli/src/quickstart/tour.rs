//! How the tour looks.

use std::fmt::Display;

use console::style;

use crate::Done;
use crate::failure::Failure;
use crate::output::{Out, RowWriter};

/// Blanks in front of what stands below a heading.
const INDENT: usize = 3;

/// The text of the tour, in numbered steps.
pub(crate) struct Tour {
    out: Out,
    steps: u32,
}

impl Tour {
    /// Begins with a title.
    pub(crate) fn begin(title: &str) -> Result<Self, Failure> {
        let mut out = Out::new();
        out.line(style(title).bold())?;
        Ok(Self { out, steps: 0 })
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) -> Done {
        self.steps += 1;
        let steps = self.steps;
        self.heading(&format!("{steps}. {title}"))
    }

    /// Begins a part.
    pub(crate) fn heading(&mut self, title: &str) -> Done {
        self.out.line(format_args!("\n{}", style(title).bold()))
    }

    /// A line of text.
    pub(crate) fn text(&mut self, text: &str) -> Done {
        self.indented(text)
    }

    /// The command that does the same.
    pub(crate) fn command(&mut self, command: &str) -> Done {
        self.indented(style(format_args!("$ {command}")).cyan())
    }

    /// Something that is done.
    pub(crate) fn done(&mut self, what: impl Display) -> Done {
        self.indented(format_args!("{} {what}", style("✓").green()))?;
        self.out.flush()
    }

    /// Something beside the point.
    pub(crate) fn remark(&mut self, remark: impl Display) -> Done {
        self.indented(style(remark).dim())?;
        self.out.flush()
    }

    /// A command that can be pasted, and what it is good for.
    pub(crate) fn suggestion(&mut self, why: &str, command: &str) -> Done {
        self.indented(style(format_args!("# {why}")).dim())?;
        self.indented(style(command).cyan())
    }

    /// Lines below a command.
    pub(crate) fn lines(&mut self, lines: &[String]) -> Done {
        self.out.text("\n")?;
        lines.iter().try_for_each(|line| self.indented(line))
    }

    /// Begins a table below a command.
    pub(crate) fn table(&mut self, columns: Vec<String>) -> Result<RowWriter<'_>, Failure> {
        self.out.text("\n")?;
        Ok(RowWriter::begin_table(&mut self.out, columns, INDENT))
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> Done {
        self.out.flush()
    }

    fn indented(&mut self, text: impl Display) -> Done {
        self.out.line(format_args!("{:INDENT$}{text}", ""))
    }
}
