//! Where the browser and the accessibility checker are.

use std::{
    env::{split_paths, var_os},
    fs,
    path::{Path, PathBuf},
};

const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome", "chrome"];

/// `TOWER_HEALTH_CHROMIUM`, or the first that is on the path.
pub(super) fn chromium() -> PathBuf {
    if let Some(file) = var_os("TOWER_HEALTH_CHROMIUM") {
        return file.into();
    }
    let path = var_os("PATH").unwrap_or_default();
    NAMES
        .iter()
        .flat_map(|name| split_paths(&path).map(move |directory| directory.join(name)))
        .find(|file| file.is_file())
        .expect(
            "no Chromium found: run tests/setup.sh, or install the package chromium, \
             or name a file in TOWER_HEALTH_CHROMIUM",
        )
}

/// The source of axe-core: `TOWER_HEALTH_AXE`, or where `tests/setup.sh` puts it.
pub fn axe() -> String {
    let file = var_os("TOWER_HEALTH_AXE").map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("target/page/node_modules/axe-core/axe.min.js")
        },
        PathBuf::from,
    );
    fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!(
            "no axe-core at {} ({error}): run tests/setup.sh, or name the npm package's axe.min.js \
             in TOWER_HEALTH_AXE",
            file.display()
        )
    })
}
