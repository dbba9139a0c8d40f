//! `jos-image repo serve`: the folder over plain HTTP, for a lab.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_http::services::ServeDir;

use super::super::ui::{Done, Failure, Ui};
use crate::repo::Repository;

#[derive(clap::Args)]
#[command(after_help = "\
For a lab: plain HTTP, one line for each request. What devices take is signed, so that nobody on the way can change it, but
everybody can see it; in earnest any web server does, over HTTPS. SIGTERM and SIGINT end it.

Examples:
  jos-image repo serve site
  jos-image repo serve site --listen 127.0.0.1:0 --json    prints the address it took")]
pub(super) struct Args {
    /// The repository's folder
    dir: PathBuf,
    /// Address and port
    #[arg(long, value_name = "ADDR", default_value = "[::]:8000")]
    listen: SocketAddr,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let repository = Repository::open(&args.dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("cannot start: {e}")))?;
    runtime.block_on(async {
        let cannot = |e| Failure::failed(format!("cannot listen on {}: {e}", args.listen));
        let listener = TcpListener::bind(args.listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        let said = format!("{} at http://{address}/\n", repository.dir.display());
        ui.line(
            &json!({ "folder": repository.dir, "address": address.to_string() }),
            said,
        );
        let ui = *ui;
        let router = Router::new()
            .fallback_service(ServeDir::new(&repository.dir))
            .layer(middleware::from_fn(move |request, next| note(ui, request, next)));
        let ended = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(listener, service).with_graceful_shutdown(ended).await;
        served.map_err(Failure::failed)?;
        Ok(0)
    })
}

/// One line for each request, on standard error.
async fn note(ui: Ui, request: Request, next: Next) -> Response {
    let from = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|from| from.0.ip().to_string());
    let line = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    let from = from.unwrap_or_default();
    // A path is a stranger's: nothing of it may steer a terminal.
    let line = jos_schemas::report::Plain(&line).to_string();
    ui.note(format!("{from} {line} {}", response.status().as_u16()));
    response
}
