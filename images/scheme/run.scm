;; Compiles the program that the command line names, in memory, and runs it: the evaluator, which would be 15 ms
;; quicker, knows no lines.
(use-modules (system base compile) (system vm loader))
;; into a pipe it would write blocks
(setvbuf (current-output-port) 'line)
(set-program-arguments (cdr (command-line)))
(define program
  (load-thunk-from-memory
   (call-with-input-file (car (command-line))
     (lambda (port)
       ;; optimizations would double the time; warnings would have no lines
       (read-and-compile port #:to 'bytecode #:optimization-level 1 #:warning-level 0)))))
;; backtraces begin here
(start-stack 'program (program))
