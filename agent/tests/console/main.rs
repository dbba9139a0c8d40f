//! `jos console` as it is built: who is let in, what its forms do, and the pages in a real browser.

mod chromium;
mod requests;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A data directory, and the programs that run on it.
pub(crate) struct Running {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) url: String,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    children: Vec<Child>,
}

fn jos(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jos"));
    command
        .arg("--data-dir")
        .arg(data)
        .env_remove("JOS_LLM")
        .env("JOS_LOG", "warn");
    command
}

impl Running {
    /// A fresh directory with the console beside it.
    pub(crate) fn start(examples: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut init = jos(dir.path());
        init.args(["runtime", "init"])
            .args(examples.then_some("--with-examples"))
            .stdout(Stdio::null());
        assert!(init.status().expect("jos runs").success());
        let mut console = jos(dir.path());
        let mut console = console
            .args(["console", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("jos runs");
        let mut line = String::new();
        let out = console.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let url = line.trim().to_owned();
        let address = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next())
            .expect("an address")
            .to_owned();
        Self {
            dir,
            url,
            address,
            children: vec![console],
        }
    }

    /// A node on the directory.
    pub(crate) fn serve(&mut self) {
        self.children
            .push(jos(self.dir.path()).arg("serve").spawn().expect("jos runs"));
    }

    /// Sends a request as it is, and gives the whole reply.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(request).expect("sent");
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address).as_bytes())
    }

    /// The cookie of whoever opens the printed address, as a header.
    pub(crate) fn cookie(&self) -> String {
        let reply = self.get(&self.url[self.url.find("/?").expect("a token")..], "");
        let (_, cookie) = reply
            .split_once("set-cookie: ")
            .unwrap_or_else(|| panic!("no cookie: {reply}"));
        format!("Cookie: {}\r\n", cookie.split(';').next().expect("a cookie"))
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join(folder)).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
