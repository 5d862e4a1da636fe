use std::ops::{Index, IndexMut};

/// A row-major matrix. Rows are tokens (or pixels in raster order), columns are channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix<T> {
    rows: usize,
    columns: usize,
    data: Vec<T>,
}

impl<T> Matrix<T> {
    /// Wraps elements that lie row after row.
    ///
    /// # Panics
    /// If there are not `rows * columns` of them.
    #[must_use]
    pub fn new(rows: usize, columns: usize, data: Vec<T>) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} x {columns} matrix");
        Self { rows, columns, data }
    }

    /// Computes every element from its row and column.
    #[must_use]
    pub fn from_fn(rows: usize, columns: usize, mut f: impl FnMut(usize, usize) -> T) -> Self {
        let mut data = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                data.push(f(row, column));
            }
        }
        Self { rows, columns, data }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.columns..][..self.columns]
    }

    /// All elements, row after row.
    #[must_use]
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All values, row by row.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }
}

impl<T> Index<(usize, usize)> for Matrix<T> {
    type Output = T;

    fn index(&self, (row, column): (usize, usize)) -> &T {
        assert!(row < self.rows && column < self.columns);
        &self.data[row * self.columns + column]
    }
}

impl<T> IndexMut<(usize, usize)> for Matrix<T> {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut T {
        assert!(row < self.rows && column < self.columns);
        &mut self.data[row * self.columns + column]
    }
}
