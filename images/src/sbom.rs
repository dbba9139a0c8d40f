//! `sbom.cdx.json`: what is in a profile's packages, as a CycloneDX 1.6 bill of materials.
//!
//! Owns: its content: the appliance, its packages, the program for each CPU, and every crate in these with version, licence,
//! checksum and what it uses, and the Debian packages in its images. Nothing in it depends on the machine, the folder or the clock.
//! Never: lists what a package asks the system for; that is the package manager's to choose.

use std::collections::{BTreeMap, BTreeSet};

use jos_schemas::text::Utc;
use serde_json::{Value, json};

use crate::bake::{Appliance, Package};
use crate::builders::{Crate, Program};
use crate::formats::hash::sha256;
use crate::image::{Debian, Made};

/// Its file.
pub const FILE: &str = "sbom.cdx.json";

/// The bill of materials of everything a profile gave.
#[must_use]
pub fn sbom(app: &Appliance, programs: &[Program], packages: &[Package], images: &[Made]) -> String {
    let mut sorted: Vec<&Program> = programs.iter().collect();
    sorted.sort_by(|a, b| a.triple.cmp(&b.triple));
    let mut components: Vec<Value> = packages.iter().map(of_package).collect();
    components.extend(images.iter().map(of_image));
    components.extend(images.iter().filter_map(of_bundle));
    components.extend(sorted.iter().map(|program| of_program(program)));
    let tools = of_tools(app, packages);
    components.extend(tools.iter().map(|tool| tool.component.clone()));
    let debian: BTreeSet<&Debian> = images.iter().flat_map(|image| &image.packages).collect();
    components.extend(debian.iter().map(|one| of_debian(one)));
    let mut crates = BTreeMap::new();
    let own = sorted.iter().flat_map(|program| program.crates.iter());
    for one in own.chain(tools.iter().flat_map(|tool| tool.crates)) {
        crates.insert(purl(&one.name, &one.version), one);
    }
    components.extend(crates.iter().map(|(purl, one)| of_crate(purl, one)));
    let mut dependencies = vec![json!({
        "ref": "appliance",
        "dependsOn": packages.iter().map(package_ref).chain(images.iter().map(image_ref)).collect::<Vec<_>>(),
    })];
    for package in packages {
        let own = crate::targets::find(package.target).map_or(&[][..], |target| target.programs);
        let device = sorted
            .iter()
            .filter(|p| own.iter().any(|triple| triple.name == p.triple));
        let brought = tools.iter().filter(|tool| tool.package == package.name);
        let inside: Vec<_> = device
            .map(|program| program_ref(program))
            .chain(brought.map(|tool| tool.reference.clone()))
            .collect();
        dependencies.push(json!({ "ref": package_ref(package), "dependsOn": inside }));
    }
    for image in images {
        let uses: Vec<_> = image.packages.iter().map(debian_purl).collect();
        dependencies.push(json!({ "ref": image_ref(image), "dependsOn": uses }));
    }
    for program in &sorted {
        let root = program.crates.iter().find(|one| one.name == "jos-agent");
        let uses: Vec<_> = root.map(|one| purl(&one.name, &one.version)).into_iter().collect();
        dependencies.push(json!({ "ref": program_ref(program), "dependsOn": uses }));
    }
    for tool in &tools {
        dependencies.push(json!({ "ref": tool.reference, "dependsOn": roots(tool.crates) }));
    }
    for (purl_of, one) in &crates {
        let uses: Vec<_> = one.uses.iter().map(|(name, version)| purl(name, version)).collect();
        dependencies.push(json!({ "ref": purl_of, "dependsOn": uses }));
    }
    let body = json!({
        "metadata": {
            "timestamp": Utc::from_unix(i64::from(app.epoch)),
            "tools": { "components": [
                { "type": "application", "name": "jos-image", "version": env!("CARGO_PKG_VERSION") },
            ] },
            "component": {
                "type": "application",
                "bom-ref": "appliance",
                "name": app.name.as_str(),
                "version": app.full_version(),
                "description": app.product(),
                "supplier": { "name": app.vendor() },
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let mut bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(&body),
        "version": 1,
    });
    if let (Value::Object(bill), Value::Object(body)) = (&mut bill, body) {
        bill.extend(body);
    }
    serde_json::to_string_pretty(&bill).unwrap_or_default() + "\n"
}

/// A program that a vendor brought, in one package.
struct Brought<'a> {
    package: &'a str,
    reference: String,
    component: Value,
    crates: &'a [Crate],
}

fn of_tools<'a>(app: &'a Appliance, packages: &'a [Package]) -> Vec<Brought<'a>> {
    let mut all = Vec::new();
    for package in packages {
        let mut tools = app.tools.iter();
        let Some(tool) = tools.find(|tool| package.name.starts_with(&tool.stem())) else {
            continue;
        };
        for program in tool.programs.get(package.target).into_iter().flatten() {
            let reference = format!("program:{}:{}", package.name, program.path);
            all.push(Brought {
                package: &package.name,
                component: json!({
                    "type": "application",
                    "bom-ref": reference,
                    "name": program.path,
                    "hashes": [{ "alg": "SHA-256", "content": program.sha256 }],
                }),
                reference,
                crates: &program.crates,
            });
        }
    }
    all
}

/// Those that no other one of them uses: what the program was built from.
fn roots(crates: &[Crate]) -> Vec<String> {
    let is_used = |one: &Crate| {
        let is_one = |(name, version): &(String, String)| *name == one.name && *version == one.version;
        crates.iter().any(|other| other.uses.iter().any(is_one))
    };
    let roots = crates.iter().filter(|one| !is_used(one));
    roots.map(|one| purl(&one.name, &one.version)).collect()
}

fn of_package(package: &Package) -> Value {
    json!({
        "type": "file",
        "bom-ref": package_ref(package),
        "name": package.name,
        "hashes": [{ "alg": "SHA-256", "content": sha256(&package.bytes) }],
        "properties": [{ "name": "jos:target", "value": package.target }],
    })
}

fn of_image(image: &Made) -> Value {
    json!({
        "type": "file",
        "bom-ref": image_ref(image),
        "name": image.name,
        "hashes": [{ "alg": "SHA-256", "content": image.sha256 }],
        "properties": [
            { "name": "jos:board", "value": image.board.name },
            { "name": "jos:base", "value": image.base },
        ],
    })
}

/// What is in it is in its image.
fn of_bundle(image: &Made) -> Option<Value> {
    let bundle = image.bundle.as_ref()?;
    Some(json!({
        "type": "file",
        "bom-ref": format!("bundle:{}", bundle.name),
        "name": bundle.name,
        "hashes": [{ "alg": "SHA-256", "content": bundle.sha256 }],
        "properties": [
            { "name": "jos:board", "value": image.board.name },
            { "name": "jos:root", "value": bundle.root },
        ],
    }))
}

fn of_debian(package: &Debian) -> Value {
    json!({
        "type": "library",
        "bom-ref": debian_purl(package),
        "name": package.name,
        "version": package.version,
        "purl": debian_purl(package),
    })
}

fn of_program(program: &Program) -> Value {
    let mut properties = vec![json!({ "name": "jos:triple", "value": program.triple })];
    properties.extend(
        program
            .provenance
            .toolchain
            .iter()
            .map(|tool| json!({ "name": "jos:toolchain", "value": tool })),
    );
    json!({
        "type": "application",
        "bom-ref": program_ref(program),
        "name": "jos",
        "hashes": [{ "alg": "SHA-256", "content": sha256(&program.bytes) }],
        "properties": properties,
    })
}

fn of_crate(purl: &str, one: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": one.name,
        "version": one.version,
        "purl": purl,
    });
    if let Some(license) = &one.license {
        // Cargo once wrote `MIT/Apache-2.0` where SPDX has OR.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = &one.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn package_ref(package: &Package) -> String {
    format!("package:{}", package.name)
}

fn image_ref(image: &Made) -> String {
    format!("image:{}", image.name)
}

/// The purl specification has `+`, `:` and `~` of a version percent-encoded but for the last.
fn debian_purl(package: &Debian) -> String {
    let version = package.version.replace('+', "%2B").replace(':', "%3A");
    let name = package.name.replace('+', "%2B");
    format!("pkg:deb/debian/{name}@{version}?arch={}", package.architecture)
}

fn program_ref(program: &Program) -> String {
    format!("program:{}", program.triple)
}

fn purl(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// A UUID that follows from the content (RFC 9562, version 8: the bits are the maker's own).
fn serial(body: &Value) -> String {
    let hash = sha256(body.to_string().as_bytes());
    let (a, b, c) = (&hash[..8], &hash[8..12], &hash[13..16]);
    let (d, e) = (&hash[17..20], &hash[20..32]);
    format!("urn:uuid:{a}-{b}-8{c}-8{d}-{e}")
}
