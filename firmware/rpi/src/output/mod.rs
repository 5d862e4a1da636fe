//! Where results go.

pub(crate) mod framebuffer;
mod json;
mod lines;
mod terminal;
mod web;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use embedded_graphics::geometry::Size;

use crate::cli::{Args, Output};
use crate::error::Error;
use crate::inference::Shown;
use crate::model::Artifact;

use framebuffer::Framebuffer;
use lines::Lines;
use terminal::Terminal;
use web::Web;

/// All that were asked for.
pub(crate) struct Outputs {
    terminal: Option<(Terminal, Lines)>,
    json: Option<Lines>,
    web: Option<Web>,
    framebuffer: Option<Framebuffer>,
}

impl Outputs {
    /// Opens them.
    pub(crate) fn open(args: &Args, artifact: &Artifact) -> Result<Self, Error> {
        let every = args.every_frame();
        let json = args.shows(Output::Json);
        let framebuffer = args.shows(Output::Framebuffer);
        let geometry = args.framebuffer_geometry;
        let framebuffer =
            framebuffer.then(|| Framebuffer::open(&args.framebuffer, geometry)).transpose()?;
        let web = args.shows(Output::Web);
        let web = web.then(|| Web::start(args.listen, artifact)).transpose()?;
        let terminal = match (args.shows(Output::Terminal), json) {
            (false, _) => None,
            // The standard output belongs to JSON.
            (true, true) => {
                let live = io::stderr().is_terminal();
                Some((Terminal::new(live), Lines::start(io::stderr(), every)?))
            }
            (true, false) => {
                let live = io::stdout().is_terminal();
                Some((Terminal::new(live), Lines::start(io::stdout(), every)?))
            }
        };
        let json = json.then(|| Lines::start(io::stdout(), every)).transpose()?;
        Ok(Self { terminal, json, web, framebuffer })
    }

    /// Extent of the picture for a display, where one is shown.
    pub(crate) fn screen(&self) -> Option<Size> {
        self.framebuffer.as_ref().map(Framebuffer::screen)
    }

    /// Shows a frame; whether anybody still looks.
    pub(crate) fn show(&mut self, shown: Shown) -> Result<bool, Error> {
        if let Some(json) = &mut self.json
            && !json.put(json::line(&shown.record))
        {
            return Ok(false);
        }
        if let Some((terminal, lines)) = &mut self.terminal
            && !lines.put(terminal.line(&shown.record))
        {
            return Ok(false);
        }
        if let (Some(framebuffer), Some(overlay)) = (&mut self.framebuffer, &shown.overlay) {
            framebuffer.show(overlay)?;
        }
        if let Some(web) = &self.web {
            web.show(Arc::new(shown));
        }
        Ok(true)
    }

    /// There will be no more: waits until what was shown is written.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let json = self.json.map_or(Ok(()), Lines::finish);
        let terminal = self.terminal.map_or(Ok(()), |(terminal, mut lines)| {
            // Nobody misses the end of a line where nobody reads.
            let _ = lines.put(terminal.end());
            lines.finish()
        });
        json.and(terminal)
    }
}
