//! Bars, as an SVG that needs nothing from elsewhere.

use std::fmt::{self, Write};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 250.0;
const TOP: f64 = 46.0;
const ROW: f64 = 26.0;

/// What is drawn: a bar for each name.
#[derive(Debug)]
pub struct Bars {
    title: &'static str,
    unit: &'static str,
    rows: Vec<(String, f64, bool)>,
}

impl Bars {
    pub fn new(title: &'static str, unit: &'static str) -> Self {
        Self {
            title,
            unit,
            rows: Vec::new(),
        }
    }

    /// Ours have another colour.
    pub fn add(&mut self, name: &str, value: f64, is_ours: bool) {
        // Code is marked in tables alone.
        self.rows.push((name.replace('`', ""), value, is_ours));
    }

    pub fn draw(&self) -> String {
        let mut svg = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut svg);
        svg
    }

    fn write(&self, svg: &mut String) -> fmt::Result {
        let height = TOP + ROW * self.rows.len() as f64 + 14.0;
        let most = self
            .rows
            .iter()
            .map(|(_, value, _)| *value)
            .fold(1e-9, f64::max);
        let digits = usize::from(most < 100.0) * 2;
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#24292f">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="20" y="26" font-size="15" font-weight="bold">{} ({})</text>"##,
            self.title, self.unit
        )?;
        for (number, (name, value, is_ours)) in self.rows.iter().enumerate() {
            let y = TOP + ROW * number as f64;
            let width = value / most * (WIDTH - LEFT - 90.0);
            let colour = if *is_ours { "#0969da" } else { "#afb8c1" };
            writeln!(
                svg,
                r##"<text x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>
<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="18" fill="{colour}"/>
<text x="{:.1}" y="{:.1}" fill="#57606a">{value:.digits$}</text>"##,
                LEFT - 8.0,
                y + 13.0,
                LEFT + width + 6.0,
                y + 13.0,
            )?;
        }
        writeln!(svg, "</svg>")
    }
}
