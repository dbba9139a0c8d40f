//! The OpenWrt source feed installs every file that lies in it, and nothing that does not. A buildroot is not run here.

use std::collections::BTreeSet;
use std::path::Path;

fn feed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../openwrt-feed/jos-agent")
}

#[test]
fn the_makefile_installs_exactly_the_files_of_the_feed() {
    let makefile = std::fs::read_to_string(feed().join("Makefile")).expect("Makefile");
    let named: BTreeSet<String> = makefile
        .lines()
        .filter(|l| l.contains("$(INSTALL_"))
        .filter_map(|l| l.split_whitespace().find_map(|w| w.strip_prefix("./files/")))
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<String> = std::fs::read_dir(feed().join("files"))
        .expect("files")
        .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, there);
}

#[test]
fn the_makefile_has_what_openwrt_asks_of_a_package() {
    let makefile = std::fs::read_to_string(feed().join("Makefile")).expect("Makefile");
    for part in [
        "include $(TOPDIR)/rules.mk",
        "include $(INCLUDE_DIR)/package.mk",
        "rust-package.mk",
        "define Package/jos-agent/conffiles\n/etc/config/jos\n",
        "$(eval $(call BuildPackage,jos-agent))",
        "RUST_PKG_FEATURES:=device",
    ] {
        assert!(makefile.contains(part), "{part}");
    }
    let version = format!("PKG_VERSION:={}\n", env!("CARGO_PKG_VERSION"));
    assert!(
        makefile.contains(&version),
        "the feed's version is the workspace's: {version}"
    );
}

#[test]
fn the_settings_of_the_feed_are_read_by_the_agents_own_types() {
    use jos_schemas::documents::{agent_config::AgentConfig, policy::Policy};
    use jos_schemas::read::{Format, document};
    let read = |name: &str| std::fs::read(feed().join("files").join(name)).expect("file");
    document::<AgentConfig>("agent.toml", &read("agent.toml"), Format::Toml).expect("agent.toml");
    document::<Policy>("policy.toml", &read("policy.toml"), Format::Toml).expect("policy.toml");
}
