(define (greet name)
  (string-append "Hello, " name "!"))

(display (greet "world"))
(newline)
(display (map (lambda (n) (* n n)) (iota 5 1)))
(newline)
