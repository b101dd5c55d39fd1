;; Runs the SRFI 64 tests in the file that the command line names. The runner is the simple one, but writes no log, for
;; which boxes have no place, and shows what a failed test got.
(use-modules (srfi srfi-64))
(setvbuf (current-output-port) 'line)
(define failures 0)

(define (show runner key)
  (let ((value (test-result-ref runner key)))
    (if value (format #t "  ~a: ~s~%" key value))))

(test-runner-factory
 (lambda ()
   (let ((runner (test-runner-simple)))
     (test-runner-on-group-begin! runner (lambda arguments #f))
     (test-runner-on-test-end! runner
       (lambda (runner)
         (test-on-test-end-simple runner)
         (if (eq? (test-result-kind runner) 'fail)
             (for-each (lambda (key) (show runner key)) '(expected-value actual-value actual-error)))))
     (test-runner-on-final! runner
       (lambda (runner)
         (set! failures (+ failures (test-runner-fail-count runner)))
         (test-on-final-simple runner)))
     runner)))

(load (string-append (getcwd) "/" (cadr (command-line))))
(exit (zero? failures))
