//! Statements for many rows: one word with the database for all of them, in few shapes, so that each is prepared once.

/// Cuts a list into parts of few lengths.
pub(super) fn parts<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = [64, 16, 4, 1].into_iter().find(|length| *length <= all.len())?;
        let (part, rest) = all.split_at(length);
        all = rest;
        Some(part)
    })
}

/// `($3, $4), ($5, $6)`: places for `rows` rows of `columns`, from number `first` on.
pub(super) fn places(rows: usize, columns: usize, first: usize) -> String {
    let row = |row: usize| {
        let numbers: Vec<String> = (0..columns)
            .map(|at| format!("${}", first + row * columns + at))
            .collect();
        format!("({})", numbers.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_any_length_comes_whole_and_in_order_in_parts_of_four_lengths() {
        for length in 0..200 {
            let all: Vec<usize> = (0..length).collect();
            let cut: Vec<&[usize]> = parts(&all).collect();
            assert!(cut.iter().all(|part| [64, 16, 4, 1].contains(&part.len())));
            assert_eq!(cut.concat(), all);
        }
    }

    #[test]
    fn places_count_on_over_the_rows() {
        assert_eq!(places(2, 2, 3), "($3, $4), ($5, $6)");
    }
}
