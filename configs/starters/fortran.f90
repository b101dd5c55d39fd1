program hello
    implicit none
    integer :: i
    real :: squares(3)

    squares = [(real(i)**2, i = 1, 3)]
    print '(a)', 'Hello, Fortran!'
    print '(a, 3f5.1)', 'Squares:', squares
    print '(a, f5.1)', 'Sum:', sum(squares)
end program hello
