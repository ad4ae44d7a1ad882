//! A drawing of a graph: fields in columns by layer, what is written on the left.

use std::fmt::Write;

use datafold::engine::{FieldRole, GraphField, TransformGraph};

/// The width of a character of the font, in pixels: what no usual font exceeds.
const CHARACTER: usize = 8;
const LINE: usize = 18;
const BOX_HEIGHT: usize = 44;
const BOX_PADDING: usize = 12;
/// Between two boxes of a column.
const ROW_GAP: usize = 18;
/// Between two columns, where the lines run.
const COLUMN_GAP: usize = 80;
const MARGIN: usize = 24;
/// The height of the line that explains the colours.
const LEGEND: usize = 36;
/// So often the order of the columns is improved.
const SWEEPS: usize = 8;

/// A box of a column: a field, or a place where a line to a later column runs through.
#[derive(Debug, Clone, Copy)]
struct Slot {
    field: Option<usize>,
}

/// A line from a box to one of the next column.
#[derive(Debug, Clone, Copy)]
struct Link {
    from: usize,
    to: usize,
}

/// Boxes in columns, and the lines between each column and the next one.
#[derive(Debug, Default)]
struct Columns {
    slots: Vec<Vec<Slot>>,
    links: Vec<Vec<Link>>,
    /// By field, its place in its column before the columns were put in order.
    orders: Vec<Vec<usize>>,
}

impl Columns {
    fn of(graph: &TransformGraph) -> Self {
        let count = graph.fields.iter().map(|field| field.layer + 1).max().unwrap_or(0);
        let mut columns = Self {
            slots: vec![Vec::new(); count],
            links: vec![Vec::new(); count.saturating_sub(1)],
            orders: Vec::new(),
        };
        let places: Vec<usize> =
            (0..graph.fields.len()).map(|at| columns.add(layer_of(graph, at), Some(at))).collect();
        for (at, field) in graph.fields.iter().enumerate() {
            for from in &field.from {
                let (Some(start), Some(end)) = (places.get(*from), places.get(at)) else {
                    continue;
                };
                columns.connect(layer_of(graph, *from), *start, field.layer, *end);
            }
        }
        columns.orders = columns.slots.iter().map(|slots| (0..slots.len()).collect()).collect();
        columns.sort();
        columns
    }

    fn add(&mut self, layer: usize, field: Option<usize>) -> usize {
        let Some(slots) = self.slots.get_mut(layer) else { return 0 };
        slots.push(Slot { field });
        slots.len() - 1
    }

    /// Leads a line through the columns between two boxes.
    fn connect(&mut self, mut layer: usize, mut from: usize, end: usize, to: usize) {
        while layer + 1 < end {
            let next = self.add(layer + 1, None);
            self.link(layer, Link { from, to: next });
            (layer, from) = (layer + 1, next);
        }
        self.link(layer, Link { from, to });
    }

    fn link(&mut self, layer: usize, link: Link) {
        if let Some(links) = self.links.get_mut(layer) {
            links.push(link);
        }
    }

    /// Puts each box near the middle of those that it is joined with, so that few lines cross.
    /// Source: the barycenter method of Sugiyama, Tagawa and Toda, 1981.
    fn sort(&mut self) {
        for sweep in 0..SWEEPS {
            let layers: Vec<usize> = match sweep % 2 {
                0 => (1..self.slots.len()).collect(),
                _ => (0..self.slots.len().saturating_sub(1)).rev().collect(),
            };
            for layer in layers {
                self.sort_column(layer, sweep % 2 == 0);
            }
        }
    }

    fn sort_column(&mut self, layer: usize, by_left: bool) {
        let beside = if by_left { layer.checked_sub(1) } else { Some(layer) };
        let Some(links) = beside.and_then(|at| self.links.get(at)) else { return };
        let fixed = if by_left { layer.checked_sub(1) } else { layer.checked_add(1) };
        let Some(fixed) = fixed.and_then(|at| self.orders.get(at)) else { return };
        let rank_of = |slot: usize| fixed.iter().position(|found| *found == slot).unwrap_or(0);
        let middle = |slot: usize, own: usize| {
            let joined = links.iter().filter_map(|link| match by_left {
                true => (link.to == slot).then_some(link.from),
                false => (link.from == slot).then_some(link.to),
            });
            let (sum, count) =
                joined.fold((0, 0), |(sum, count), slot| (sum + 2 * rank_of(slot) + 1, count + 1));
            // In thousandths, since floats have no order.
            (sum * 1_000_usize).checked_div(count).unwrap_or((2 * own + 1) * 1_000)
        };
        let Some(order) = self.orders.get(layer) else { return };
        let mut ranked: Vec<(usize, usize)> =
            order.iter().enumerate().map(|(own, slot)| (middle(*slot, own), *slot)).collect();
        ranked.sort_by_key(|(middle, _)| *middle);
        if let Some(order) = self.orders.get_mut(layer) {
            *order = ranked.into_iter().map(|(_, slot)| slot).collect();
        }
    }

    fn rank(&self, layer: usize, slot: usize) -> usize {
        let order = self.orders.get(layer).into_iter().flatten();
        order.into_iter().position(|found| *found == slot).unwrap_or(0)
    }
}

fn layer_of(graph: &TransformGraph, at: usize) -> usize {
    graph.fields.get(at).map_or(0, |field| field.layer)
}

/// Where everything is, in pixels.
struct Plan<'g> {
    graph: &'g TransformGraph,
    columns: Columns,
    /// By column, where it begins and how wide it is.
    widths: Vec<(usize, usize)>,
    height: usize,
}

impl<'g> Plan<'g> {
    fn new(graph: &'g TransformGraph) -> Self {
        let columns = Columns::of(graph);
        let mut widths = Vec::with_capacity(columns.slots.len());
        let mut left = MARGIN;
        for slots in &columns.slots {
            let fields = slots.iter().filter_map(|slot| graph.fields.get(slot.field?));
            let width = fields.map(width_of).max().unwrap_or(0);
            widths.push((left, width));
            left += width + COLUMN_GAP;
        }
        let rows = columns.slots.iter().map(Vec::len).max().unwrap_or(0);
        let height = 2 * MARGIN + LEGEND + rows * (BOX_HEIGHT + ROW_GAP);
        Self { graph, columns, widths, height }
    }

    fn width(&self) -> usize {
        let end = self.widths.last().map_or(MARGIN, |(left, width)| left + width);
        (end + MARGIN).max(MARGIN + LEGEND_WIDTH)
    }

    /// The upper edge of a box. Columns with fewer boxes stand in the middle.
    fn top(&self, layer: usize, slot: usize) -> usize {
        let rows = self.columns.slots.iter().map(Vec::len).max().unwrap_or(0);
        let own = self.columns.slots.get(layer).map_or(0, Vec::len);
        let step = BOX_HEIGHT + ROW_GAP;
        MARGIN + LEGEND + (rows - own) * step / 2 + self.columns.rank(layer, slot) * step
    }

    fn middle(&self, layer: usize, slot: usize) -> usize {
        self.top(layer, slot) + BOX_HEIGHT / 2
    }
}

fn width_of(field: &GraphField) -> usize {
    let longest = field.schema.as_str().chars().count().max(field.field.as_str().chars().count());
    2 * BOX_PADDING + longest * CHARACTER
}

/// The fill and the edge of a box.
fn colours(role: FieldRole) -> (&'static str, &'static str) {
    match role {
        FieldRole::Computed => ("#e3f0e3", "#3d7a3d"),
        FieldRole::Mapped => ("#efe7f6", "#75519a"),
        _ => ("#eef1f5", "#66758a"),
    }
}

const LEGEND_WIDTH: usize = 420;

/// The graph as the text of an SVG file.
pub(super) fn draw(graph: &TransformGraph) -> String {
    let plan = Plan::new(graph);
    let (width, height) = (plan.width(), plan.height);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Which fields are computed from which</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"#7b8794\"/>\
         </marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
    );
    legend(&mut svg);
    for (layer, links) in plan.columns.links.iter().enumerate() {
        for link in links {
            line(&plan, layer, *link, &mut svg);
        }
    }
    for (layer, slots) in plan.columns.slots.iter().enumerate() {
        for (slot, found) in slots.iter().enumerate() {
            match found.field.and_then(|at| plan.graph.fields.get(at)) {
                Some(field) => field_box(&plan, layer, slot, field, &mut svg),
                None => passage(&plan, layer, slot, &mut svg),
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let roles = [FieldRole::Written, FieldRole::Mapped, FieldRole::Computed];
    for (at, role) in roles.into_iter().enumerate() {
        let (left, (fill, edge)) = (MARGIN + at * 130, colours(role));
        let (top, name) = (MARGIN, role.as_str());
        let (text_left, base) = (left + 26, top + 13);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"18\" height=\"16\" rx=\"3\" fill=\"{fill}\" \
             stroke=\"{edge}\"/><text x=\"{text_left}\" y=\"{base}\" fill=\"#333\">{name}</text>"
        );
    }
}

/// A line between two columns; one that ends at a field has a tip.
fn line(plan: &Plan<'_>, layer: usize, link: Link, svg: &mut String) {
    let (Some((left, width)), Some((end, _))) =
        (plan.widths.get(layer), plan.widths.get(layer + 1))
    else {
        return;
    };
    let start = left + slot_width(plan, layer, link.from).unwrap_or(*width);
    let (from, to) = (plan.middle(layer, link.from), plan.middle(layer + 1, link.to));
    let half = (start + end) / 2;
    let slots = plan.columns.slots.get(layer + 1);
    let is_end =
        slots.and_then(|slots| slots.get(link.to)).is_some_and(|slot| slot.field.is_some());
    let tip = if is_end { " marker-end=\"url(#tip)\"" } else { "" };
    let _ = writeln!(
        svg,
        "<path d=\"M{start} {from} C{half} {from} {half} {to} {end} {to}\" fill=\"none\" \
         stroke=\"#7b8794\" stroke-width=\"1.3\"{tip}/>"
    );
}

fn slot_width(plan: &Plan<'_>, layer: usize, slot: usize) -> Option<usize> {
    let field = plan.columns.slots.get(layer)?.get(slot)?.field?;
    plan.graph.fields.get(field).map(width_of)
}

/// A line goes straight through a column.
fn passage(plan: &Plan<'_>, layer: usize, slot: usize, svg: &mut String) {
    let Some((left, width)) = plan.widths.get(layer) else { return };
    let (middle, right) = (plan.middle(layer, slot), left + width);
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {middle} H{right}\" fill=\"none\" stroke=\"#7b8794\" \
         stroke-width=\"1.3\"/>"
    );
}

fn field_box(plan: &Plan<'_>, layer: usize, slot: usize, field: &GraphField, svg: &mut String) {
    let Some((left, _)) = plan.widths.get(layer) else { return };
    let (top, width) = (plan.top(layer, slot), width_of(field));
    let (fill, edge) = colours(field.role);
    let dashes = match field.state {
        Some(state) if state != "ready" => " stroke-dasharray=\"4 3\"",
        _ => "",
    };
    let (text, first) = (left + BOX_PADDING, top + 18);
    let second = first + LINE;
    // Names are letters, digits and underscores, which need no escaping.
    let (schema, name) = (&field.schema, &field.field);
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"6\" \
         fill=\"{fill}\" stroke=\"{edge}\"{dashes}/>\n\
         <text x=\"{text}\" y=\"{first}\" fill=\"#66758a\" font-size=\"11\">{schema}</text>\
         <text x=\"{text}\" y=\"{second}\" fill=\"#1c2733\">{name}</text>"
    );
}
