"""Tables: a specification, metrics and printed numbers in; a document out, as CSV, Markdown, LaTeX or HTML.

A printed (quoted) number and one of ours never share a column. A difference between them is shown only where
both were measured on the same benchmark. Equal inputs give equal text.

`tellsign.schema.tables` checks and completes what a configuration says of a table; then, one after the other:

``specification``  a table's completed settings
``numbers``        the numbers of each cell: ours, the printed one, their difference
``layout``         texts of cells and sections of columns
``kinds``          the sections of each kind of table; its text says how to add one
``footnotes``      how to read the numbers
``document``       what comes out, by ``make``
``writers``        its files, by the templates in ``templates``
"""
