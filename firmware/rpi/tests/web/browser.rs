//! Chromium without a window, told what to do over its debugging pipe: messages of JSON that end with a
//! zero byte.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::installed;

/// The browser with one page.
pub struct Browser {
    process: Child,
    commands: File,
    answers: BufReader<File>,
    session: Option<String>,
    sent: u64,
    complaints: Vec<String>,
    _folder: TempDir,
}

impl Browser {
    /// Starts it, if it is installed.
    pub fn start() -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let Some(program) = names.into_iter().find_map(installed) else {
            // Past the test harness, which keeps what passing tests say to itself.
            let _ = writeln!(io::stderr(), "SKIPPED: no chromium is installed: page not looked at");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let (commands, answers) = (pipe("commands"), pipe("answers"));
        // It reads descriptor 3 and writes 4, which only a shell gives it.
        let process = Command::new("sh")
            .args([
                "-c",
                "commands=$1 answers=$2; shift 2; exec \"$@\" 3<\"$commands\" 4>\"$answers\"",
                "sh",
            ])
            .args([&commands, &answers])
            .arg(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args([
                "--no-first-run",
                "--mute-audio",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each waits for the other side, in the shell's order.
        let commands = OpenOptions::new().write(true).open(&commands).unwrap();
        let answers = BufReader::new(File::open(&answers).unwrap());
        Some(Self {
            process,
            commands,
            answers,
            session: None,
            sent: 0,
            complaints: Vec::new(),
            _folder: folder,
        })
    }

    /// Opens a page of this extent.
    pub fn open(&mut self, address: &str, width: u32, height: u32) {
        let page = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", attach);
        self.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        self.call("Page.enable", json!({}));
        self.call("Runtime.enable", json!({}));
        self.resize(width, height);
        self.call("Page.navigate", json!({ "url": address }));
    }

    /// Changes the page's extent.
    pub fn resize(&mut self, width: u32, height: u32) {
        let extent =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", extent);
    }

    /// Light or dark.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let what = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", what);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; one that fails is not yet.
    pub fn wait_for(&mut self, condition: &str) {
        for _ in 0..600 {
            let tried =
                format!("(() => {{ try {{ return {condition} }} catch {{ return false }} }})()");
            if self.evaluate(&tried) == true {
                return;
            }
            self.evaluate("new Promise(done => setTimeout(done, 50))");
        }
        let seen = self.evaluate("document.body.innerText");
        panic!("it never happened that {condition}; the page says: {seen}");
    }

    /// A PNG of the page or of an element in it.
    pub fn screenshot(&mut self, element: Option<&str>) -> Vec<u8> {
        let mut what = json!({ "format": "png" });
        if let Some(element) = element {
            let area = format!(
                "(area => ({{ x: area.x, y: area.y, width: area.width, height: area.height, scale: 1 }}))(
                    document.getElementById('{element}').getBoundingClientRect())"
            );
            what["clip"] = self.evaluate(&area);
        }
        let picture = self.call("Page.captureScreenshot", what);
        let encoded = picture["data"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()
    }

    /// What went wrong in the page.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        let mut message = message.to_string().into_bytes();
        message.push(0);
        self.commands.write_all(&message).unwrap();
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "the browser has ended");
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["method"] == "Runtime.exceptionThrown" {
                self.complaints.push(answer["params"].to_string());
            }
            if answer["id"] == self.sent {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
