;; Loads the program that the command line names. An error ends it with SBCL's message and with the frames of the
;; program; SBCL's own debugger would add those of the loader, which are more than an answer holds.

;; The nursery: SBCL takes 5 % of the heap that it reserves, which is far larger than the box.
(setf (sb-ext:bytes-consed-between-gcs) (* 16 1024 1024))

(defun cl-user::program-frames ()
  (let ((frames (sb-debug:list-backtrace :from :interrupted-frame)))
    (loop for frame in (or (rest (member 'error frames :key #'first)) frames)
          until (member (first frame)
                        '(sb-int:simple-eval-in-lexenv sb-int:load-as-source sb-c:compiler-error
                          (flet sb-unix::body :in sb-thread::run))
                        :test #'equal)
          collect frame)))

(setf sb-ext:*invoke-debugger-hook*
      (lambda (condition hook)
        (declare (ignore hook))
        (finish-output *standard-output*)
        (format *error-output* "~&Unhandled ~S:~%  ~A~%" (type-of condition) condition)
        (loop with *print-length* = 8 and *print-level* = 3
              for frame in (cl-user::program-frames) and i below 20
              do (format *error-output* "~D: ~S~%" i frame))
        (sb-ext:exit :code 1 :abort t)))

(let ((program (second sb-ext:*posix-argv*)))
  (setf (rest sb-ext:*posix-argv*) (cddr sb-ext:*posix-argv*))
  (load program))
