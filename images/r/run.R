# Runs main.R as Rscript does, but an error comes with the lines that led to it, and a plot becomes a PNG, not a PDF.
options(
    keep.source = TRUE, showErrorCalls = FALSE, bitmapType = "cairo",
    device = function() grDevices::png("Rplot%03d.png", 800, 600, res = 120),
    error = quote({
        for (frame in .traceback(1)) {
            line <- attr(frame, "srcref")
            if (!is.null(line))
                cat(sprintf("  at %s:%d: %s\n", attr(line, "srcfile")$filename, line[1], frame[1]), file = stderr())
        }
        quit("no", 1, FALSE)
    })
)
source("main.R", print.eval = TRUE)
