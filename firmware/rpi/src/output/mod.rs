//! Where results go.

pub(crate) mod framebuffer;
mod json;
mod terminal;
mod web;

use std::sync::Arc;

use embedded_graphics::geometry::Size;

use crate::cli::{Args, Output};
use crate::error::Error;
use crate::inference::Shown;
use crate::model::Artifact;

use framebuffer::Framebuffer;
use terminal::Terminal;
use web::Web;

/// All that were asked for.
pub(crate) struct Outputs {
    terminal: Option<Terminal>,
    json: bool,
    web: Option<Web>,
    framebuffer: Option<Framebuffer>,
}

impl Outputs {
    /// Opens them.
    pub(crate) fn open(args: &Args, artifact: &Artifact) -> Result<Self, Error> {
        let json = args.shows(Output::Json);
        let framebuffer = args.shows(Output::Framebuffer);
        let geometry = args.framebuffer_geometry;
        let framebuffer =
            framebuffer.then(|| Framebuffer::open(&args.framebuffer, geometry)).transpose()?;
        let web = args.shows(Output::Web);
        let web = web.then(|| Web::start(args.listen, artifact)).transpose()?;
        let terminal = args.shows(Output::Terminal).then(|| Terminal::new(json));
        Ok(Self { terminal, json, web, framebuffer })
    }

    /// Extent of the picture for a display, where one is shown.
    pub(crate) fn screen(&self) -> Option<Size> {
        self.framebuffer.as_ref().map(Framebuffer::screen)
    }

    /// Shows a frame; whether anybody still looks.
    pub(crate) fn show(&mut self, shown: Shown) -> Result<bool, Error> {
        if self.json && !json::show(&shown.record)? {
            return Ok(false);
        }
        if let Some(terminal) = &self.terminal
            && !terminal.show(&shown.record)?
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

    /// There will be no more.
    pub(crate) fn finish(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.finish();
        }
    }
}

/// Whether somebody reads what was written. Nobody does behind `| head`, which is no fault.
fn written(result: std::io::Result<()>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(reason) if reason.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(reason) => Err(Error::Write { reason }),
    }
}
