//! Plots as SVG.

use std::path::Path;

use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor, Rectangle,
    SVGBackend, Text, WHITE,
};
use plotters::style::{BLACK, IntoFont};

use crate::figure::digits;
use crate::report::Latencies;

type Failed = Box<dyn std::error::Error>;

const SIZE: (u32, u32) = (860, 480);
/// Colours that are told apart in print, too. Source: Okabe and Ito.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];
/// Shares of a percentile plot, the last one only where there are enough operations for it.
const NINES: f64 = 5.0;
const STEPS: u32 = 100;
/// Pixels of a bar's height.
const BAR: u32 = 34;

/// Latency by share: p50, p90, p99 … are at equal distances, so that the tail is seen.
pub fn percentiles(path: &Path, caption: &str, series: &[(String, Latencies)]) -> Result<(), Failed> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let values = || series.iter().flat_map(|(_, latencies)| points(latencies));
    let low = values().map(|(_, value)| value).fold(f64::INFINITY, f64::min).max(0.001);
    let high = values().map(|(_, value)| value).fold(low, f64::max);
    let last = values().map(|(nines, _)| nines).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..last, (low * 0.8..high * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("share of the operations")
        .y_desc("µs")
        .x_label_formatter(&|nines| format!("{:.3} %", (1.0 - 10_f64.powf(-nines)) * 100.0))
        .draw()?;
    for ((name, latencies), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(points(latencies), colour.stroke_width(2)))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

/// One bar for each name, on a logarithmic axis. `unit` is that of the values.
pub fn bars(path: &Path, caption: &str, unit: &str, values: &[(String, f64)]) -> Result<(), Failed> {
    let count = u32::try_from(values.len())?;
    let root = SVGBackend::new(path, (SIZE.0, 110 + BAR * count)).into_drawing_area();
    root.fill(&WHITE)?;
    let low = values.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min) / 3.0;
    // Room for the number beside the longest bar.
    let high = values.iter().map(|(_, value)| *value).fold(low, f64::max) * 30.0;
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(8)
        .build_cartesian_2d((low..high).log_scale(), 0.0..f64::from(count))?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc(unit).draw()?;
    for (at, (name, value)) in (0..count).zip(values) {
        let bottom = f64::from(count - 1 - at);
        let colour = if at == 0 { COLOURS[1] } else { COLOURS[0] };
        chart.draw_series([Rectangle::new(
            [(low, bottom + 0.15), (*value, bottom + 0.85)],
            colour.filled(),
        )])?;
        let label = format!("{name}: {} {unit}", digits(*value));
        chart.draw_series([Text::new(
            label,
            (*value * 1.1, bottom + 0.65),
            ("sans-serif", 14).into_font(),
        )])?;
    }
    root.present()?;
    Ok(())
}

/// (number of nines, microseconds), as far as there are operations behind a point.
#[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
fn points(latencies: &Latencies) -> Vec<(f64, f64)> {
    let last = (latencies.count().max(10) as f64).log10().min(NINES);
    let nines = (0..=STEPS).map(|step| f64::from(step) / f64::from(STEPS) * last);
    nines.map(|nines| (nines, latencies.at(1.0 - 10_f64.powf(-nines)).max(0.001))).collect()
}
