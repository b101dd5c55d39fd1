(defun greet (name)
  (format nil "Hello, ~a!" name))

(write-line (greet "world"))
(format t "~{~a~^, ~}~%" (loop for n from 1 to 5 collect (* n n)))
