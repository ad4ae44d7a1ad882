//! `man`: manual pages, one for each command.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::Done;
use crate::args::Cli;
use crate::failure::Failure;
use crate::output::{Out, counted, footer};

/// Prints the page of the program, or writes all pages into a folder.
pub(crate) fn run(dir: Option<&Path>) -> Done {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut out = Out::new();
    let Some(dir) = dir else {
        let page = page(&program, "datafold").map_err(|error| Failure::output(&error))?;
        out.text(&String::from_utf8_lossy(&page))?;
        return out.flush();
    };
    fs::create_dir_all(dir).map_err(|error| Failure::io(dir.display(), &error))?;
    let mut pages = Vec::new();
    collect(&program, "datafold", &mut pages);
    for (name, page) in &pages {
        let path = dir.join(format!("{name}.1"));
        let page = page.as_ref().map_err(|error| Failure::io(path.display(), error))?;
        fs::write(&path, page).map_err(|error| Failure::io(path.display(), &error))?;
        out.line(path.display())?;
    }
    out.flush()?;
    footer(format_args!("{}; read one with: man -l FILE", counted(pages.len() as u64, "page")));
    Ok(())
}

type Page = (String, io::Result<Vec<u8>>);

/// The page of a command, and those of the commands below it.
fn collect(command: &Command, name: &str, pages: &mut Vec<Page>) {
    pages.push((name.to_owned(), page(command, name)));
    for below in command.get_subcommands() {
        collect(below, &format!("{name}-{}", below.get_name()), pages);
    }
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    // The name of a page is that of its file, such as `datafold-schema-load`.
    let man = Man::new(command.clone().display_name(name.to_owned())).manual("DataFold Manual");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().or(command.get_after_long_help()).is_some() {
        let mut notes = Vec::new();
        man.render_extra_section(&mut notes)?;
        let notes = String::from_utf8_lossy(&notes).replacen(".SH EXTRA", ".SH NOTES", 1);
        page.extend(notes.into_bytes());
    }
    Ok(page)
}
