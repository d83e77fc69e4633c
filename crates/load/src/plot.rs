//! The picture of the document: latency curves, and CPU time of each system.

use crate::Trouble;
use crate::latency::Latency;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (980, 820);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
];
/// Curves go to this many nines.
const NINES: f64 = 3.0;
const STEPS: u32 = 60;

/// One system in the picture.
pub struct Place {
    /// Its name.
    pub name: String,
    /// CPU time for one message.
    pub cpu_us: f64,
    /// Delivery in the paced run.
    pub delivery: Latency,
}

/// What the scenarios leave for the picture.
#[derive(Default)]
pub struct Picture {
    /// Appenders, and delivery at half of their rate.
    pub appends: Vec<(u32, Latency)>,
    /// The relay and its peers.
    pub systems: Vec<Place>,
}

impl Picture {
    /// Writes it as SVG; false if there is nothing to draw.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn draw(&self, path: &Path) -> Result<bool, Trouble> {
        if self.appends.is_empty() && self.systems.is_empty() {
            return Ok(false);
        }
        // The error of the backend is not one that may cross threads.
        self.draw_on(path).map_err(|why| why.to_string())?;
        Ok(true)
    }

    fn draw_on(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (upper, lower) = area.split_vertically(SIZE.1 / 2);
        let systems = self.systems.iter();
        let paced: Vec<_> = systems
            .map(|place| (short(&place.name), &place.delivery))
            .collect();
        let (left, right) = upper.split_horizontally(SIZE.0 / 2);
        curves(&left, "delivered, 300 messages/s", &paced)?;
        let appends = self.appends.iter();
        let appends: Vec<_> = appends
            .map(|(appenders, latency)| (format!("{appenders} appenders"), latency))
            .collect();
        curves(&right, "relay: delivered, at half of the rate", &appends)?;
        bars(&lower, &self.systems)?;
        area.present()?;
        Ok(())
    }
}

/// The product without its settings.
fn short(name: &str) -> String {
    name.split(',').next().unwrap_or(name).to_owned()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn curves(
    area: &Area<'_>,
    caption: &str,
    all: &[(String, &Latency)],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..NINES, (0.1..10_000.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("ms")
        .x_labels(4)
        .x_label_formatter(&|nines| match nines.round() {
            0.0 => "0".to_owned(),
            1.0 => "90".to_owned(),
            2.0 => "99".to_owned(),
            _ => "99.9".to_owned(),
        })
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, latency), colour) in all.iter().zip(COLOURS.iter().cycle()) {
        let points = (0..=STEPS).map(|step| {
            let nines = NINES * f64::from(step) / f64::from(STEPS);
            let millis = latency.quantile(1.0 - 10_f64.powf(-nines)).as_secs_f64() * 1e3;
            (nines, millis.max(0.1))
        });
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if !all.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
    }
    Ok(())
}

fn bars(area: &Area<'_>, systems: &[Place]) -> Result<(), Box<dyn std::error::Error>> {
    let most = systems.iter().map(|place| place.cpu_us).fold(1.0, f64::max);
    let count = systems.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(
            "server CPU for one delivered message, µs",
            ("sans-serif", 16),
        )
        .margin(10)
        .x_label_area_size(20)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..count, 0.0..most * 1.15)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_desc("µs")
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((at, place), colour) in (0_u32..).zip(systems).zip(COLOURS.iter().cycle()) {
        let left = f64::from(at) + 0.2;
        let bar = [(left, 0.0), (left + 0.6, place.cpu_us)];
        chart.draw_series([Rectangle::new(bar, colour.filled())])?;
        let above = (left, place.cpu_us + most * 0.06);
        let text = format!("{}: {:.0}", short(&place.name), place.cpu_us);
        chart.draw_series([Text::new(text, above, ("sans-serif", 13))])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::time::Duration;

    #[test]
    fn curves_bars_and_names_are_in_the_picture() {
        let scratch = Scratch::new("plot").unwrap();
        let path = scratch.path.join("picture.svg");
        assert!(!Picture::default().draw(&path).unwrap());
        let mut latency = Latency::default();
        (1..1_000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        let picture = Picture {
            appends: vec![(16, latency.clone())],
            systems: vec![Place {
                name: "Somebody 1.0, settings".into(),
                cpu_us: 42.0,
                delivery: latency,
            }],
        };
        assert!(picture.draw(&path).unwrap());
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["16 appenders", "Somebody 1.0: 42", "99.9", "<polyline"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("settings"));
    }
}
