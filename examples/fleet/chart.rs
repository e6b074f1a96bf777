//! One chart per way, all on the same scale.

use std::fmt::{self, Write};

use crate::model::{Course, Scenario, Way};

const WIDTH: f64 = 760.0;
const PANEL: f64 = 92.0;
const GAP: f64 = 34.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 34.0;

/// A self-contained SVG.
pub(crate) fn draw(courses: &[(Way, Course)], scenario: &Scenario) -> String {
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut svg, courses, scenario);
    svg
}

fn write(svg: &mut String, courses: &[(Way, Course)], scenario: &Scenario) -> fmt::Result {
    let height = TOP + courses.len() as f64 * (PANEL + GAP) + BOTTOM;
    let x = |second: f64| LEFT + second / scenario.ends_at as f64 * (WIDTH - LEFT - 20.0);
    let most = courses
        .iter()
        .flat_map(|(_, course)| &course.arrivals.checks)
        .copied()
        .max()
        .map_or(1.0, f64::from);
    let foot = TOP + courses.len() as f64 * (PANEL + GAP) - GAP;

    writeln!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#24292f">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="{LEFT}" y="22" font-size="15" font-weight="bold">Checks per second on one Postgres: {} replicas, {} probers each</text>
<text x="{LEFT}" y="40" fill="#57606a">kubelet 10 s, ALB 30 s, Envoy 5 s; results cached for {} s; deployed together at 0, Postgres down while shaded</text>
<rect x="{:.1}" y="{TOP}" width="{:.1}" height="{:.1}" fill="#ffebe9"/>"##,
        thousands(scenario.replicas),
        2 + scenario.envoys,
        scenario.cache_for.as_secs(),
        x(scenario.fails_at as f64),
        x(scenario.returns_at as f64) - x(scenario.fails_at as f64),
        foot - TOP,
    )?;
    for (number, (way, course)) in courses.iter().enumerate() {
        let bottom = TOP + number as f64 * (PANEL + GAP) + PANEL;
        let y = |count: f64| bottom - count / most * PANEL;
        let counts = &course.arrivals.checks;
        let peak = counts.iter().copied().max().unwrap_or(0) as usize;
        let (left, right) = (x(0.0), x(scenario.ends_at as f64));
        writeln!(
            svg,
            r##"<text x="{LEFT}" y="{:.1}" font-weight="bold">{}</text>
<text x="{right:.1}" y="{:.1}" text-anchor="end" fill="#57606a">peak {}</text>
<path d="M{left:.1} {bottom:.1}H{right:.1}" stroke="#8c959f" fill="none"/>
<text x="{:.1}" y="{:.1}" text-anchor="end" fill="#57606a">{}</text><text x="{:.1}" y="{bottom:.1}" text-anchor="end" fill="#57606a">0</text>"##,
            bottom - PANEL - 6.0,
            way.name(),
            bottom - PANEL - 6.0,
            thousands(peak),
            left - 6.0,
            bottom - PANEL + 10.0,
            thousands(most as usize),
            left - 6.0,
        )?;
        write!(svg, r##"<path fill="#0969da" d="M{left:.1} {bottom:.1}"##)?;
        for (second, count) in counts.iter().enumerate() {
            let top = y(f64::from(*count));
            write!(svg, "V{top:.1}H{:.1}", x((second + 1) as f64))?;
        }
        writeln!(svg, r#"V{bottom:.1}Z"/>"#)?;
    }
    for second in (0..=scenario.ends_at).step_by(30) {
        writeln!(
            svg,
            r##"<text x="{:.1}" y="{:.1}" text-anchor="middle" fill="#57606a">{second} s</text>"##,
            x(second as f64),
            foot + 18.0,
        )?;
    }
    writeln!(svg, "</svg>")
}

/// `10000` as `10 000`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}
