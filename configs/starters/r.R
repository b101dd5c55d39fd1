greet <- function(name) paste0("Hello, ", name, "!")

print(greet("world"))
(1:5)^2
summary(c(2, 3, 5, 7, 11))
