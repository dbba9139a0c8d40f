//! The artifact's flow, at the start and where another one is granted; and the settings, read again.

use jos_link::Turn;
use jos_runtime::Plane;

use super::{Agent, Settings, notify};
use crate::cli::Failure;
use crate::run::flow;

impl Agent<'_> {
    pub(super) fn flow(&mut self) {
        let Some(artifact) = &self.settings.artifact else {
            return;
        };
        self.live.phase = "running the flow".into();
        self.live.write(&self.run_dir);
        let flow = flow::run(&self.plane, &self.world, artifact, &self.settings.environment);
        if !flow.ok {
            let (step, why) = (
                flow.failed.as_deref().unwrap_or("?"),
                flow.reason.as_deref().unwrap_or("?"),
            );
            self.live.trouble = Some(format!("flow: {step}: {why}"));
        }
        self.live.flow = serde_json::to_value(&flow).ok();
    }

    /// SIGHUP: everything is read again. What cannot be read leaves the settings as they are.
    pub(super) fn reload(&mut self, turn: &mut Turn) {
        log::info!("{}: reload", self.settings.name);
        notify("STATUS=reloading");
        let before = self.settings.artifact.as_ref().map(|a| a.sha256.clone());
        let read = Settings::read(&self.given).and_then(|settings| {
            if settings.name != self.settings.name || settings.state_dir != self.settings.state_dir {
                return Err(Failure::invalid(
                    "the name and the data folder of a running agent cannot change: restart it",
                ));
            }
            let plane = Plane::open(settings.setup(), self.world).map_err(Failure::failed)?;
            Ok((settings, plane))
        });
        match read {
            Ok((settings, plane)) => {
                let moved = settings.state != self.settings.state
                    || settings.config.network_user != self.settings.config.network_user;
                self.settings = settings;
                self.plane = plane;
                self.judged = None;
                self.pause.over();
                self.live.trouble = None;
                self.live.hub = self.settings.hub.clone();
                self.reopen_hub();
                turn.set_interval(self.settings.interval);
                if moved {
                    // It looks into a folder that is not the one any more.
                    self.half = None;
                    turn.set_half(self.now(), self.settings.state.is_some());
                }
                if self.settings.artifact.as_ref().map(|a| a.sha256.clone()) != before {
                    self.flow();
                }
            }
            Err(failure) => self.trouble(format!("reload: {failure}")),
        }
    }
}
